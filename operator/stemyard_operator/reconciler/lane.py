"""A lane for the reconciles that use a dependency: when it is slow, workers remain for the others."""

from collections.abc import Callable

from stemyard_operator.informer.cache_entry import Key


class LaneFullError(Exception):
    """No place is free in the lane; the key is requeued when one is."""


class Lane:
    """Places for so many keys at a time; those that find none wait in order, without a worker.

    Args:
        size: number of places, fewer than there are workers.
        requeue: called with a key that may enter now.
    """

    def __init__(self, size: int, requeue: Callable[[Key], None]) -> None:
        self._size = size
        self._requeue = requeue
        self._inside: set[Key] = set()
        self._waiting: dict[Key, None] = {}

    @property
    def waiting(self) -> int:
        """Number of keys that wait for a place."""
        return len(self._waiting)

    def enter(self, key: Key) -> None:
        """Take a place until `leave`, unless the key has one.

        Raises:
            LaneFullError: there is none.
        """
        if key in self._inside:
            return
        if len(self._inside) >= self._size:
            self._waiting.setdefault(key)
            raise LaneFullError
        self._waiting.pop(key, None)
        self._inside.add(key)

    def leave(self, key: Key) -> None:
        """Give back the key's place, if it has one; called after every reconcile, as one that waited may need none."""
        self._inside.discard(key)
        if self._waiting and len(self._inside) < self._size:
            following = next(iter(self._waiting))
            del self._waiting[following]
            self._requeue(following)
