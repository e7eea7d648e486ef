"""Authentication by API key: hashed keys compared in constant time, and the scopes of a caller."""

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stemyard_api.errors import ForbiddenError, UnauthenticatedError

DEFAULT_KEY_ID: Final = "default"
"""Id of the key in API_SECRET_KEY."""
HIGHEST_PRIORITY: Final = 100
"""The API uses priorities from minus this to this; what is beyond is left to those who write SeparationJobs."""
_BEARER: Final = b"bearer "


class Scope(StrEnum):
    """What a key may do; none includes another."""

    SUBMIT = "submit"
    """Request separations, upload, and withdraw the key's own requests."""
    READ = "read"
    """Read states and lists."""
    ADMIN = "admin"
    """See and end everybody's separations; queue and usage."""


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of one key; None is what the deployment says.

    Attributes:
        submits_per_minute: separations it may ask for.
        reads_per_minute: everything else.
        concurrent: its separations that may be under way at once.
        minutes_per_day: minutes of audio separated for it from midnight to midnight UTC.
        priority: highest priority it may ask for; None is 0, or for an admin the highest there is.
    """

    submits_per_minute: int | None = None
    reads_per_minute: int | None = None
    concurrent: int | None = None
    minutes_per_day: float | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller; the id of its key is stored in claims, the key itself nowhere."""

    key_id: str
    scopes: frozenset[Scope] = ALL_SCOPES
    limits: KeyLimits = KeyLimits()

    @property
    def is_admin(self) -> bool:
        """Whether it may see and end everybody's separations."""
        return Scope.ADMIN in self.scopes

    @property
    def highest_priority(self) -> int:
        """Priority that it may ask for at most."""
        if self.limits.priority is not None:
            return self.limits.priority
        return HIGHEST_PRIORITY if self.is_admin else 0

    def require(self, scope: Scope) -> None:
        """Pass a key with this scope.

        Raises:
            ForbiddenError: it has not.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"This API key lacks the scope {scope}.")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it is kept: its digest, whose it is, and until when (epoch seconds) it opens."""

    principal: Principal
    digest: bytes
    expires_at: float | None = None


class Keyring:
    """The keys that open this API, held as digests; `replace` changes them while requests are served."""

    def __init__(self, entries: Iterable[KeyEntry] = (), *, open_to_all: bool = False) -> None:
        """Take the keys.

        Args:
            entries: the keys; one id may have several, as while one is rotated.
            open_to_all: with no key at all, take every caller for the key `default`.
        """
        self._allowed_open = open_to_all
        self.replace(entries)

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """The keys that open the API now."""
        return self._entries

    def replace(self, entries: Iterable[KeyEntry]) -> None:
        """Let these keys, and no others, open the API from now on."""
        self._entries = tuple(entries)
        self._open = self._allowed_open and not self._entries

    def identify(self, presented: bytes | None) -> Principal:
        """Return who presents this key.

        Every stored digest is compared, so the time tells neither how much of a key was right nor which key matched.

        Raises:
            UnauthenticatedError: no key, or not one of ours, or one that has expired.
        """
        if self._open:
            return Principal(DEFAULT_KEY_ID)
        found: KeyEntry | None = None
        presented_digest = digest(presented or b"")
        for entry in self._entries:
            if hmac.compare_digest(presented_digest, entry.digest):
                found = entry
        if found is None or (found.expires_at is not None and found.expires_at <= time.time()):
            raise UnauthenticatedError
        return found.principal


def presented_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key of a request: `X-API-Key`, or `Authorization: Bearer`. Header names are in lower case."""
    if (key := headers.get(b"x-api-key")) is not None:
        return key
    authorization = headers.get(b"authorization", b"")
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else None


def digest(secret: bytes) -> bytes:
    """Return the form in which a key is kept.

    A fast hash is enough: keys are random, so there is no dictionary to try; equal lengths make comparing
    them constant in time.
    """
    return hashlib.sha256(secret).digest()
