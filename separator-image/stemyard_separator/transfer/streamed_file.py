"""A file that can be read from its beginning while the rest of it is still on its way to the disk."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stemyard_contract.handover import StoredFile

Tell = Callable[[int], None]
"""Told how many bytes of a file are on the disk."""
_ENOUGH: Final = 4 << 20
"""Bytes to begin with: a quarter of a minute of stereo in 24 bits at the least."""
_PAUSE_SECONDS: Final = 1.0


class StreamedFile:
    """Brings a file here in a thread of its own; what is not here yet is waited for by whoever reads it.

    Used as a binary stream that is read once, from its beginning, by one thread. Once enough is here to begin with, it
    leaves the processor to whoever begins: for a second at most, or until the rest is wanted.

    Args:
        path: where the file goes; it only ever grows.
        bring: writes the file, telling how much of it is there; returns what is known of the whole.
    """

    def __init__(self, path: Path, bring: Callable[[Tell], StoredFile]) -> None:
        self._path, self._bring = path, bring
        self._changed = threading.Condition()
        self._here = self._read = 0
        self._rest_wanted = False
        self._stored: StoredFile | None = None
        self._failure: Exception | None = None
        # a daemon: a stage that fails meanwhile does not wait for what it no longer needs
        threading.Thread(target=self._run, name=f"bring {path.name}", daemon=True).start()

    def want_rest(self) -> None:
        """Have the rest brought as fast as it comes."""
        with self._changed:
            self._rest_wanted = True
            self._changed.notify_all()

    def result(self) -> StoredFile:
        """Wait for the whole file and return what is known of it; raises what `bring` raised."""
        self.want_rest()
        with self._changed:
            self._changed.wait_for(self._is_over)
        if self._stored is None:
            raise self._failure or EOFError
        return self._stored

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`, none at the end; raises what `bring` raised."""
        if self._here == self._read:
            self.want_rest()
        with self._changed:
            self._changed.wait_for(lambda: self._here > self._read or self._is_over())
            available = self._here - self._read
        if not available:
            self.result()
            return b""
        with self._path.open("rb") as file:
            file.seek(self._read)
            content = file.read(min(size, available))
        self._read += len(content)
        return content

    def _run(self) -> None:
        try:
            self._end(stored=self._bring(self._arrived))
        except Exception as error:  # noqa: BLE001 - raised again by the thread that reads
            self._end(failure=error)

    def _arrived(self, here: int) -> None:
        with self._changed:
            self._here = here
            self._changed.notify_all()
            if here >= _ENOUGH and not self._rest_wanted:
                self._changed.wait_for(lambda: self._rest_wanted, _PAUSE_SECONDS)
                self._rest_wanted = True

    def _end(self, stored: StoredFile | None = None, failure: Exception | None = None) -> None:
        with self._changed:
            self._stored, self._failure = stored, failure
            self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._stored is not None or self._failure is not None
