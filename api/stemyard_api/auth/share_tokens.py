"""Bearer tokens of share links: the holder may read one track's result until it expires or is revoked. Pure.

A token is base64url, without padding, of: version (1 byte), expiry (5 bytes, epoch seconds), binding (8 bytes), track
id, and the first 16 bytes of an HMAC-SHA256 (RFC 2104) over all before it. The binding is a MAC over the uid of the
SeparationJob and the time of its last revocation: a token ends when either changes, and no token has to be stored.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stemyard_api.errors import ShareNotFoundError

TOKEN_PATTERN: Final = r"^[A-Za-z0-9_-]{40,256}$"  # noqa: S105 - a pattern
_VERSION: Final = b"\x01"
_EXPIRY_BYTES: Final = 5
_BINDING_BYTES: Final = 8
_MAC_BYTES: Final = 16
_HEAD_BYTES: Final = len(_VERSION) + _EXPIRY_BYTES + _BINDING_BYTES


@dataclass(frozen=True, slots=True)
class Share:
    """What a token with a valid signature says."""

    track_id: str
    expires_at: int
    """Epoch seconds."""
    binding: bytes
    key: bytes
    """The key that signed it."""

    def is_of(self, uid: str, revoked: str | None) -> bool:
        """Return whether it was issued for the SeparationJob of this uid, after this last revocation."""
        return hmac.compare_digest(self.binding, _binding(self.key, uid, revoked))


class ShareTokens:
    """Issues and reads tokens of one installation."""

    def __init__(self, install_id: str, secrets: Sequence[str]) -> None:
        """Derive the keys.

        Args:
            install_id: id of the installation.
            secrets: the one that signs first, then one that it replaces; without any, no token is valid.
        """
        purpose = b"stemyard share links\n" + install_id.encode()
        self._keys = tuple(_mac(secret.encode(), purpose) for secret in secrets)

    @property
    def enabled(self) -> bool:
        """Whether tokens can be issued."""
        return bool(self._keys)

    def issue(self, track_id: str, uid: str, revoked: str | None, expires_at: int) -> str:
        """Return a token for a track.

        Args:
            track_id: id of the track.
            uid: uid of its SeparationJob.
            revoked: when its tokens were revoked last, None if never.
            expires_at: epoch seconds.
        """
        key = self._keys[0]
        expiry = expires_at.to_bytes(_EXPIRY_BYTES)
        signed = _VERSION + expiry + _binding(key, uid, revoked) + track_id.encode()
        return _encode(signed + _signature(key, signed))

    def read(self, token: str) -> Share:
        """Return what a token says; its expiry and binding are not checked.

        Raises:
            ShareNotFoundError: it was not issued here, or its secret is no longer known.
        """
        try:
            content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise ShareNotFoundError from None
        signed, signature = content[:-_MAC_BYTES], content[-_MAC_BYTES:]
        # of all spellings of the same bytes only the one that is issued
        if len(signed) <= _HEAD_BYTES or signed[:1] != _VERSION or _encode(content) != token:
            raise ShareNotFoundError
        matching = [key for key in self._keys if hmac.compare_digest(signature, _signature(key, signed))]
        if not matching:
            raise ShareNotFoundError
        expiry, binding = signed[1 : 1 + _EXPIRY_BYTES], signed[1 + _EXPIRY_BYTES : _HEAD_BYTES]
        return Share(signed[_HEAD_BYTES:].decode(), int.from_bytes(expiry), binding, matching[0])


def _binding(key: bytes, uid: str, revoked: str | None) -> bytes:
    return _mac(key, b"\n".join((b"binding", uid.encode(), (revoked or "").encode())))[:_BINDING_BYTES]


def _signature(key: bytes, signed: bytes) -> bytes:
    return _mac(key, b"token\n" + signed)[:_MAC_BYTES]


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
