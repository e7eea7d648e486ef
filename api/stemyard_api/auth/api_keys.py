"""Authentication by API key: hashed keys compared in constant time, and the scopes of a caller."""

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from stemyard_api.errors import ForbiddenError, UnauthenticatedError

DEFAULT_KEY_ID: Final = "default"
"""Id of the key in API_SECRET_KEY."""
KEY_ID: Final = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
"""Pattern of an id; also that of a valid label value, because it labels a SeparationJob as its owner."""
HIGHEST_PRIORITY: Final = 100
"""The API accepts priorities from minus this to this; others are only for authors of SeparationJobs."""
_BEARER: Final = b"bearer "


class Scope(StrEnum):
    """What a key may do; none includes another."""

    SUBMIT = "submit"
    """Request separations, upload, and withdraw the key's own requests."""
    READ = "read"
    """Read states and lists."""
    ADMIN = "admin"
    """See and end all separations; queue and usage."""


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of one key; None is the deployment's default.

    Attributes:
        submits_per_minute: separations it may request.
        reads_per_minute: other requests.
        concurrent: separations that may be under way concurrently.
        minutes_per_day: minutes of audio separated for it per day (UTC).
        upload_mb_per_day: MiB of uploads that it may announce per day (UTC).
        streams: event streams that may be open concurrently, in each process.
        priority: highest priority it may request; None is 0, or for an admin HIGHEST_PRIORITY.
    """

    submits_per_minute: int | None = None
    reads_per_minute: int | None = None
    concurrent: int | None = None
    minutes_per_day: float | None = None
    upload_mb_per_day: int | None = None
    streams: int | None = None
    priority: int | None = None


@dataclass(slots=True, eq=False)
class Validity:
    """Whether a key that was presented is still valid; the keyring updates it."""

    revoked: bool = False
    expires_at: float | None = None
    """Epoch seconds."""

    def holds(self) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return not self.revoked and (self.expires_at is None or self.expires_at > time.time())


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller; the id of its key is stored in claims, the key itself is never stored."""

    key_id: str
    scopes: frozenset[Scope] = ALL_SCOPES
    limits: KeyLimits = KeyLimits()
    namespaces: frozenset[str] = frozenset()
    """Namespaces whose kubectl users' tracks it may see."""
    validity: Validity = field(default_factory=Validity, compare=False, repr=False)
    """Of the key as it was presented; what outlasts a request checks it again."""

    @property
    def is_admin(self) -> bool:
        """Whether it may see and end all separations."""
        return Scope.ADMIN in self.scopes

    @property
    def highest_priority(self) -> int:
        """Highest priority that it may request."""
        if self.limits.priority is not None:
            return self.limits.priority
        return HIGHEST_PRIORITY if self.is_admin else 0

    def require(self, scope: Scope) -> None:
        """Check that the key has a scope.

        Raises:
            ForbiddenError: it does not.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"This API key lacks the scope {scope}.")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A stored key: its principal, its digest, and when it expires (epoch seconds)."""

    principal: Principal
    digest: bytes
    expires_at: float | None = None


class Keyring:
    """The valid API keys, stored as digests; `replace` changes them while requests are served."""

    def __init__(self, entries: Iterable[KeyEntry] = (), *, open_to_all: bool = False) -> None:
        """Store the keys.

        Args:
            entries: the keys; one id may have several, as while one is rotated.
            open_to_all: without any key, identify every caller as the key `default`.
        """
        self._allowed_open = open_to_all
        self._entries: tuple[KeyEntry, ...] = ()
        self.replace(entries)

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """The current keys."""
        return self._entries

    @property
    def valid_ids(self) -> frozenset[str]:
        """Ids of the keys that are valid now."""
        ids = {entry.principal.key_id for entry in self._entries if entry.principal.validity.holds()}
        return frozenset({*ids, DEFAULT_KEY_ID} if self._open else ids)

    def replace(self, entries: Iterable[KeyEntry]) -> None:
        """Replace all keys; what holds a principal of a key that is gone or changed finds it revoked."""
        before = {entry: entry for entry in self._entries}
        self._entries = tuple(before.pop(entry, entry) for entry in entries)
        for entry in self._entries:
            entry.principal.validity.expires_at = entry.expires_at
        for gone in before.values():
            gone.principal.validity.revoked = True
        self._open = self._allowed_open and not self._entries

    def identify(self, presented: bytes | None) -> Principal:
        """Return the principal of a presented key.

        Every stored digest is compared, so that the time reveals neither a partial match nor which key matched.

        Raises:
            UnauthenticatedError: the key is missing, unknown or expired.
        """
        if self._open:
            return Principal(DEFAULT_KEY_ID)
        match: KeyEntry | None = None
        presented_digest = digest(presented or b"")
        for entry in self._entries:
            if hmac.compare_digest(presented_digest, entry.digest):
                match = entry
        if not presented or match is None or not match.principal.validity.holds():
            raise UnauthenticatedError
        return match.principal


def presented_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key of a request: `X-API-Key`, or `Authorization: Bearer`. Header names are in lower case."""
    if (key := headers.get(b"x-api-key")) is not None:
        return key
    authorization = headers.get(b"authorization", b"")
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else None


def digest(secret: bytes) -> bytes:
    """Return the digest that is stored for a key.

    A fast hash is enough, because keys are random and cannot be guessed from a dictionary; digests of equal length
    are compared in constant time.
    """
    return hashlib.sha256(secret).digest()
