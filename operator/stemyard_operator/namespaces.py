"""What this replica knows of each watched namespace: one that cannot be read is unknown, never empty."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

_LIST: Final = "list"


class Namespaces:
    """Records the lists and watches of each namespace. Ages are seconds on the monotonic clock."""

    def __init__(self, names: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._listed_at: dict[str, float | None] = dict.fromkeys(names)
        self._errors: dict[tuple[str, str], str] = {}
        """By namespace, and what failed."""
        self._refused: set[str] = set()

    def listed(self, name: str) -> bool:
        """Record a complete list; return whether the namespace was unknown before."""
        unknown = not self.is_known(name)
        self._listed_at[name] = self._clock()
        self.recovered(name, _LIST)
        self._refused.discard(name)
        return unknown

    def failed(self, name: str, why: str, *, refused: bool) -> bool:
        """Record a list that failed; return whether a namespace that was known is unknown now.

        Args:
            name: the namespace.
            why: the error.
            refused: whether the API server denies access, so that what was known of the namespace counts no more; the
                watches may still report its changes if it only failed to answer.
        """
        known = self.is_known(name)
        self.broken(name, _LIST, why)
        if refused:
            self._refused.add(name)
        return known and refused

    def broken(self, name: str, what: str, why: str) -> None:
        """Record that a watch of the namespace fails; lists still report its changes, later."""
        self._errors[name, what] = why

    def recovered(self, name: str, what: str) -> None:
        """Record that a watch of the namespace works."""
        self._errors.pop((name, what), None)

    def is_known(self, name: str) -> bool:
        """Return whether the namespace was listed completely, and has not been refused since."""
        return self._listed_at.get(name) is not None and name not in self._refused

    @property
    def all_known(self) -> bool:
        """Whether every watched namespace is known."""
        return all(map(self.is_known, self._listed_at))

    @property
    def errors(self) -> Mapping[str, str]:
        """Why namespaces cannot be listed or watched, by name."""
        found: dict[str, str] = {}
        for (name, what), why in self._errors.items():
            found[name] = f"{found[name]}; {what}: {why}" if name in found else f"{what}: {why}"
        return found

    @property
    def ages(self) -> Mapping[str, float | None]:
        """Seconds since the last complete list of each namespace, None before the first."""
        now = self._clock()
        return {name: None if at is None else now - at for name, at in self._listed_at.items()}
