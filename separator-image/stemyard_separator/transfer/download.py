"""A size-limited download to disk that is hashed on the way and resumed after a broken connection."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import StoredFile
from stemyard_separator.errors import SourceError
from stemyard_separator.http import StreamedResponse
from stemyard_separator.transfer.streamed_file import OnBytes

_PARTIAL_CONTENT = 206


class ResumableDownload:
    """One file that may take several requests to complete.

    Args:
        target: file to write.
        max_bytes: larger files are refused.
        on_bytes: called with the number of bytes written so far.
    """

    def __init__(self, target: Path, max_bytes: int, on_bytes: OnBytes = lambda _: None) -> None:
        self._target, self._max_bytes, self._on_bytes = target, max_bytes, on_bytes
        self._digest = hashlib.sha256()
        self._received = 0

    @property
    def range_header(self) -> dict[str, str]:
        """Header that requests the missing bytes; empty before the first byte."""
        return {"Range": f"bytes={self._received}-"} if self._received else {}

    def write(self, response: StreamedResponse) -> StoredFile:
        """Write a response's body, or the part of it that is missing; return the complete file.

        Raises:
            SourceError: SOURCE_TOO_LARGE as soon as the announced or received size exceeds the limit.
            HttpError: the connection broke; the bytes received so far are kept.
        """
        duplicate = 0 if response.status == _PARTIAL_CONTENT else self._received
        self._check_size(self._received - duplicate + (response.content_length or 0))
        with self._target.open("ab" if self._received else "wb", buffering=0) as file:
            for chunk in _skip(response.chunks, duplicate):
                self._check_size(self._received + len(chunk))
                self._digest.update(chunk)
                file.write(chunk)
                self._received += len(chunk)
                self._on_bytes(self._received)
        return StoredFile(file=self._target.name, bytes=self._received, sha256=self._digest.hexdigest())

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            detail = f"At most {self._max_bytes / 2**20:g} MiB are accepted."
            raise SourceError(FailureCode.SOURCE_TOO_LARGE, detail)


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield chunks without their first `count` bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))
