"""Renewal of the object store's temporary credentials, by a thread, so that signing a link never waits."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

log: Final = logging.getLogger(__name__)
_LEAST_SECONDS: Final = 1.0
"""Shortest time between two renewals that succeed."""
_MOST_SECONDS: Final = 300.0
"""Longest time between two renewals of keys that do not say when they expire, and between two that fail."""


class KeysUnavailableError(Exception):
    """There are no keys, or those that there were have expired; the message says why."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """An access key with its secret."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Session token, which every request signed by temporary keys carries."""
    expires_at: float | None = None
    """Epoch seconds, None if they do not expire."""

    def lifetime(self, seconds: int, now: float) -> int:
        """Return for how many seconds a link may be valid: those requested, but not beyond the keys' expiry."""
        return seconds if self.expires_at is None else min(seconds, int(self.expires_at - now))


class RenewedKeys:
    """The latest keys. They are loaded again after half of the time that they have left.

    Args:
        load: returns keys; whatever it raises means that there are none now. It may block for some seconds.
        now: the time in epoch seconds.
        least: shortest pause in seconds after a renewal.
    """

    def __init__(
        self, load: Callable[[], SigningKeys], now: Callable[[], float] = time.time, least: float = _LEAST_SECONDS
    ) -> None:
        self._load, self._now, self._least = load, now, least
        self._keys: SigningKeys | None = None
        self._why = "they have not been loaded yet"
        self._tried, self._closed = threading.Event(), threading.Event()
        threading.Thread(target=self._renew, name="signing-keys", daemon=True).start()

    def current(self, wait: float = 0) -> SigningKeys:
        """Return keys that have not expired.

        Args:
            wait: seconds that the caller may block until the first attempt to load keys has ended.

        Raises:
            KeysUnavailableError: there are none.
        """
        self._tried.wait(wait)
        keys = self._keys
        if keys is None or keys.lifetime(1, self._now()) < 1:
            raise KeysUnavailableError(f"no credentials for the object store: {self._why}")
        return keys

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()

    def _renew(self) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                self._keys = self._load()
            except Exception as error:  # noqa: BLE001 - whatever a provider of credentials raises, the next attempt may succeed
                failures += 1
                self._why = f"{type(error).__name__}: {error}"
                log.warning("the object store's credentials cannot be renewed: %s", self._why)
                pause = min(2.0**failures, _MOST_SECONDS)
            else:
                failures, self._why = 0, "they have expired"
                pause = self._until_renewal(self._keys)
            self._tried.set()
            self._closed.wait(pause * random.uniform(0.8, 1))

    def _until_renewal(self, keys: SigningKeys) -> float:
        if keys.expires_at is None:
            return _MOST_SECONDS
        return max((keys.expires_at - self._now()) / 2, self._least)
