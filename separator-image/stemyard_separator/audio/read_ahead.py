"""Decodes ahead of the reader, so that a network does not wait for a decoder."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Final, Self

from stemyard_separator.engines.protocol import Samples

_TOGETHER: Final = 16
"""Blocks that are handed on at once: one FLAC frame (0.1 s) alone costs more in switches between threads."""
_MOST: Final = 24
"""Most of these that wait for the reader: 40 s of 0.1 s each, 14 MiB."""


class ReadAhead:
    """Iterates blocks in a background thread, which ends with the context; to be iterated once."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks = iter(blocks)
        self._changed = threading.Condition()
        self._read: deque[list[Samples]] = deque()
        self._is_ended = self._is_closed = False
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        # a daemon: a stage that fails must not wait for a download it no longer needs
        threading.Thread(target=self._run, name="read ahead", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Samples]:
        """Yield the blocks; raises what reading them raised."""
        while blocks := self._next():
            yield from blocks
        if self._failure is not None:
            raise self._failure

    def _next(self) -> list[Samples]:
        """Wait for the next blocks; return none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._read or self._is_ended)
            blocks = self._read.popleft() if self._read else []
            self._changed.notify_all()
            return blocks

    def _run(self) -> None:
        try:
            while (blocks := list(islice(self._blocks, _TOGETHER))) and self._put(blocks):
                pass
        except Exception as error:  # noqa: BLE001 - re-raised in the reading thread
            self._failure = error
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def _put(self, blocks: list[Samples]) -> bool:
        """Wait for room; return whether there still is a reader."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._read) < _MOST)
            self._read.append(blocks)
            self._changed.notify_all()
            return not self._is_closed
