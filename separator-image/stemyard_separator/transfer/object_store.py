"""Files to and from the object store, through links the desk gives."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Link, LinkRequest, MarkReference, StoredFile
from stemyard_separator.errors import PublishError, StageError
from stemyard_separator.http import HttpClient, HttpError, retried
from stemyard_separator.models.folder import file_sha256
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.transfer.download import ResumableDownload
from stemyard_separator.transfer.streamed_file import Tell

_ATTEMPTS: Final = 6
"""Over some 15 seconds: a store that is restarted shall not cost a separation."""
_FIRST_PAUSE: Final = 0.5
_GONE: Final = (404, 410)
_CONTENT: Final = (200, 206)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file ready to be stored under the name of its path."""

    path: Path
    content_type: str

    def stored(self) -> StoredFile:
        """Return what will be known of it in the store."""
        return StoredFile(file=self.path.name, bytes=self.path.stat().st_size, sha256=file_sha256(self.path))


class _TryAgainError(Exception):
    pass


class ObjectStore:
    """The object store as far as links reach."""

    def __init__(self, desk: DeskClient, http: HttpClient) -> None:
        self._desk = desk
        self._http = http

    def upload(self, files: Sequence[LocalFile]) -> None:
        """ObjectStore `files` side by side.

        Raises:
            PublishError: LINK_REFUSED, DESK_UNREACHABLE or STORE_UNREACHABLE.
        """
        links = self._desk.links([_put(file) for file in files])
        with ThreadPoolExecutor(max_workers=len(files)) as pool:
            list(pool.map(self._put, files, links))

    def commit(self, mark: LocalFile) -> MarkReference:
        """ObjectStore a stage's commit mark, whose presence says that all else is there; raises what `upload` does."""
        link = self._desk.links([_put(mark)])[0]
        self._put(mark, link)
        return MarkReference(key=link.key, sha256=file_sha256(mark.path))

    def fetch(
        self, name: str, target: Path, max_bytes: int, missing: StageError, tell: Tell = lambda _: None
    ) -> StoredFile:
        """Bring one file here and return its length and digest; `tell` hears how many bytes are on the disk.

        Raises:
            StageError: `missing`, if the store does not have it.
            SourceError: SOURCE_TOO_LARGE beyond `max_bytes`.
            PublishError: LINK_REFUSED, DESK_UNREACHABLE or STORE_UNREACHABLE.
        """
        link = self._desk.links([LinkRequest(file=name, method="GET")])[0]
        incoming = ResumableDownload(target, max_bytes, tell)
        try:
            return retried(lambda: self._get(link, incoming, missing), _TryAgainError, _ATTEMPTS, _FIRST_PAUSE)
        except _TryAgainError as error:
            raise PublishError(FailureCode.STORE_UNREACHABLE, f"Reading {name}: {error}.") from None

    def _put(self, file: LocalFile, link: Link) -> None:
        try:
            retried(lambda: self._put_once(file, link), _TryAgainError, _ATTEMPTS, _FIRST_PAUSE)
        except _TryAgainError as error:
            raise PublishError(FailureCode.STORE_UNREACHABLE, f"Writing {file.path.name}: {error}.") from None

    def _put_once(self, file: LocalFile, link: Link) -> None:
        try:
            answer = self._http.put_file(link.url, file.path, link.headers)
        except HttpError as error:
            raise _TryAgainError(str(error)) from error
        if not answer.is_success:
            raise _TryAgainError(f"it answered {answer.status}")

    def _get(self, link: Link, incoming: ResumableDownload, missing: StageError) -> StoredFile:
        try:
            with self._http.download(link.url, {**link.headers, **incoming.range}) as download:
                if download.status in _GONE:
                    raise missing
                if download.status not in _CONTENT:
                    raise _TryAgainError(f"it answered {download.status}")
                return incoming.take(download)
        except HttpError as error:
            raise _TryAgainError(str(error)) from error


def _put(file: LocalFile) -> LinkRequest:
    size = file.path.stat().st_size
    return LinkRequest(file=file.path.name, method="PUT", bytes=size, content_type=file.content_type)
