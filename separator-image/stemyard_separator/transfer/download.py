"""A download on its way to the disk: bounded, digested, and continued where the connection broke."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import StoredFile
from stemyard_separator.errors import SourceError
from stemyard_separator.http import StreamedResponse

_PARTIAL = 206


class ResumableDownload:
    """One file that may take several downloads to be complete.

    Args:
        target: where it goes.
        max_bytes: more are refused.
        tell: told how many bytes are on the disk.
    """

    def __init__(self, target: Path, max_bytes: int, tell: Callable[[int], None] = lambda _: None) -> None:
        self._target, self._most, self._tell = target, max_bytes, tell
        self._digest = hashlib.sha256()
        self._received = 0

    @property
    def range(self) -> dict[str, str]:
        """Headers that ask for what is missing."""
        return {"Range": f"bytes={self._received}-"} if self._received else {}

    def take(self, download: StreamedResponse) -> StoredFile:
        """Write a download's body, or what is new of it; return what the complete file is.

        Raises:
            SourceError: SOURCE_TOO_LARGE as soon as too much is announced or comes.
            HttpError: the connection broke; what came is kept.
        """
        known = 0 if download.status == _PARTIAL else self._received
        self._check(self._received - known + (download.content_length or 0))
        with self._target.open("ab" if self._received else "wb", buffering=0) as file:
            for block in _after(download.blocks, known):
                self._check(self._received + len(block))
                self._digest.update(block)
                file.write(block)
                self._received += len(block)
                self._tell(self._received)
        return StoredFile(file=self._target.name, bytes=self._received, sha256=self._digest.hexdigest())

    def _check(self, size: int) -> None:
        if size > self._most:
            detail = f"At most {self._most / 2**20:g} MiB are accepted."
            raise SourceError(FailureCode.SOURCE_TOO_LARGE, detail)


def _after(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield blocks without their first `count` bytes."""
    for block in blocks:
        if count < len(block):
            yield block[count:]
        count = max(0, count - len(block))
