"""A file that can be read from the start while a background thread is still downloading it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stemyard_contract.handover import StoredFile

OnBytes = Callable[[int], None]
"""Called with the number of bytes of a file that are on disk."""
_PREFETCH_BYTES: Final = 4 << 20
"""Bytes after which reading can start: at least 15 seconds of 24-bit stereo."""
_PAUSE_SECONDS: Final = 1.0


class StreamedFile:
    """Downloads a file in a background thread; `read` blocks for bytes that have not arrived.

    A binary stream that one thread reads once, from the start. After `_PREFETCH_BYTES` the download yields the CPU to
    the reader: it pauses for up to a second, or until the rest is needed.

    Args:
        path: where the file goes; it only ever grows.
        download: writes the file, calls back with its size so far, and returns the complete file.
    """

    def __init__(self, path: Path, download: Callable[[OnBytes], StoredFile]) -> None:
        self._path, self._download = path, download
        self._changed = threading.Condition()
        self._available = self._position = 0
        self._rest_needed = False
        self._stored: StoredFile | None = None
        self._failure: Exception | None = None
        # a daemon: a stage that fails must not wait for a download it no longer needs
        threading.Thread(target=self._run, name=f"download {path.name}", daemon=True).start()

    def need_rest(self) -> None:
        """Continue the download without pausing."""
        with self._changed:
            self._rest_needed = True
            self._changed.notify_all()

    def result(self) -> StoredFile:
        """Wait for the whole file and return its length and digest; raises what `download` raised."""
        self.need_rest()
        with self._changed:
            self._changed.wait_for(self._is_complete)
        if self._stored is None:
            raise self._failure or EOFError
        return self._stored

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`, empty at the end; raises what `download` raised."""
        if self._available == self._position:
            self.need_rest()
        with self._changed:
            self._changed.wait_for(lambda: self._available > self._position or self._is_complete())
            unread = self._available - self._position
        if not unread:
            self.result()
            return b""
        with self._path.open("rb") as file:
            file.seek(self._position)
            content = file.read(min(size, unread))
        self._position += len(content)
        return content

    def _run(self) -> None:
        try:
            self._complete(stored=self._download(self._on_bytes))
        except Exception as error:  # noqa: BLE001 - re-raised in the reading thread
            self._complete(failure=error)

    def _on_bytes(self, available: int) -> None:
        with self._changed:
            self._available = available
            self._changed.notify_all()
            if available >= _PREFETCH_BYTES and not self._rest_needed:
                self._changed.wait_for(lambda: self._rest_needed, _PAUSE_SECONDS)
                self._rest_needed = True

    def _complete(self, stored: StoredFile | None = None, failure: Exception | None = None) -> None:
        with self._changed:
            self._stored, self._failure = stored, failure
            self._changed.notify_all()

    def _is_complete(self) -> bool:
        return self._stored is not None or self._failure is not None
