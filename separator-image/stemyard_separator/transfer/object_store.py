"""Uploads to and downloads from the object store, through presigned links from the desk."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Link, LinkRequest, MarkReference, StoredFile
from stemyard_separator.errors import PublishError, StageError
from stemyard_separator.http import HttpClient, HttpError, retry
from stemyard_separator.models.folder import file_sha256
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.transfer.download import ResumableDownload
from stemyard_separator.transfer.streamed_file import OnBytes

_ATTEMPTS: Final = 6
"""Over about 15 seconds, so that a restart of the store does not fail a separation."""
_MISSING_STATUSES: Final = (404, 410)
_CONTENT_STATUSES: Final = (200, 206)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to upload under the name of its path."""

    path: Path
    content_type: str

    def stored(self) -> StoredFile:
        """Return its name, length and digest."""
        return StoredFile(file=self.path.name, bytes=self.path.stat().st_size, sha256=file_sha256(self.path))


class ObjectStore:
    """The files of one stage in the object store."""

    def __init__(self, desk: DeskClient, http: HttpClient) -> None:
        self._desk = desk
        self._http = http

    def upload(self, files: Sequence[LocalFile]) -> None:
        """Upload `files` in parallel.

        Raises:
            PublishError: LINK_REFUSED, DESK_UNREACHABLE or STORE_UNREACHABLE.
        """
        links = self._desk.links([_put_request(file) for file in files])
        with ThreadPoolExecutor(max_workers=len(files)) as pool:
            list(pool.map(self._put, files, links))

    def commit(self, mark: LocalFile) -> MarkReference:
        """Upload a stage's commit mark, which states that everything else is there; raises what `upload` raises."""
        link = self._desk.links([_put_request(mark)])[0]
        self._put(mark, link)
        return MarkReference(key=link.key, sha256=file_sha256(mark.path))

    def download(
        self, name: str, target: Path, max_bytes: int, missing: StageError, on_bytes: OnBytes = lambda _: None
    ) -> StoredFile:
        """Download one file and return its length and digest; `on_bytes` gets the number of bytes written so far.

        Raises:
            StageError: `missing`, if the store does not have it.
            SourceError: SOURCE_TOO_LARGE beyond `max_bytes`.
            PublishError: LINK_REFUSED, DESK_UNREACHABLE or STORE_UNREACHABLE.
        """
        link = self._desk.links([LinkRequest(file=name, method="GET")])[0]
        download = ResumableDownload(target, max_bytes, on_bytes)
        try:
            return retry(lambda: self._get_once(link, download, missing), _ATTEMPTS)
        except HttpError as error:
            raise PublishError(FailureCode.STORE_UNREACHABLE, f"Reading {name}: {error}.") from None

    def _put(self, file: LocalFile, link: Link) -> None:
        try:
            retry(lambda: self._put_once(file, link), _ATTEMPTS)
        except HttpError as error:
            raise PublishError(FailureCode.STORE_UNREACHABLE, f"Writing {file.path.name}: {error}.") from None

    def _put_once(self, file: LocalFile, link: Link) -> None:
        response = self._http.put_file(link.url, file.path, link.headers)
        if not response.is_success:
            raise HttpError(f"HTTP {response.status}")

    def _get_once(self, link: Link, download: ResumableDownload, missing: StageError) -> StoredFile:
        with self._http.stream(link.url, {**link.headers, **download.range_header}) as response:
            if response.status in _MISSING_STATUSES:
                raise missing
            if response.status not in _CONTENT_STATUSES:
                raise HttpError(f"HTTP {response.status}")
            return download.write(response)


def _put_request(file: LocalFile) -> LinkRequest:
    size = file.path.stat().st_size
    return LinkRequest(file=file.path.name, method="PUT", bytes=size, content_type=file.content_type)
