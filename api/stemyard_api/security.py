"""Security: who is asking, told by an API key and compared in constant time."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stemyard_api.errors import UnauthenticatedError

DEFAULT_KEY_ID: Final = "default"
"""Id of the key in API_SECRET_KEY."""
_BEARER: Final = b"bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever holds a key; the id is written into claims, the key itself nowhere."""

    key_id: str


class Keyring:
    """The keys that open this API, held as digests."""

    def __init__(self, keys: Mapping[str, str], *, open_to_all: bool = False) -> None:
        """Take the keys.

        Args:
            keys: secret by key id.
            open_to_all: with no key at all, take every caller for the key `default`.
        """
        self._digests = {key_id: _digest(secret.encode()) for key_id, secret in keys.items()}
        self._open = open_to_all and not keys

    def identify(self, presented: bytes | None) -> Principal:
        """Return who presents this key.

        Every stored digest is compared, so the time tells neither how much of a key was right nor which key matched.

        Raises:
            UnauthenticatedError: no key, or not one of ours.
        """
        if self._open:
            return Principal(DEFAULT_KEY_ID)
        found: str | None = None
        digest = _digest(presented or b"")
        for key_id, expected in self._digests.items():
            if hmac.compare_digest(digest, expected):
                found = key_id
        if found is None:
            raise UnauthenticatedError
        return Principal(found)


def presented_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key of a request: `X-API-Key`, or `Authorization: Bearer`. Header names are in lower case."""
    if (key := headers.get(b"x-api-key")) is not None:
        return key
    authorization = headers.get(b"authorization", b"")
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else None


def _digest(secret: bytes) -> bytes:
    # SHA-256 gives equal lengths, which compare_digest needs to be constant in time
    return hashlib.sha256(secret).digest()
