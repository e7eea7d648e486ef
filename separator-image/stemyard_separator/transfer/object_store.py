"""Uploads to and downloads from the object store, through presigned links from the desk."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Link, LinkRequest, Mark, MarkReference, StoredFile
from stemyard_separator.errors import PublishError, StageError
from stemyard_separator.http import HttpClient, HttpError, backoff, is_transient
from stemyard_separator.models.folder import file_sha256
from stemyard_separator.transfer.deadline import StageDeadline
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.transfer.download import ResumableDownload
from stemyard_separator.transfer.streamed_file import OnBytes

_T = TypeVar("_T")
_LINKS: Final = 6
"""Links that are tried for one file if the store refuses them."""
_MARK_TYPE: Final = "application/json"
_MARK_RESERVE: Final = 64
"""Bytes by which a commit mark may grow while the other files are uploaded: digits of durations and of the time."""
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


class _RefusedError(Exception):
    """The store refused a request, perhaps since its link has expired."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")


class ObjectStore:
    """The files of one stage in the object store.

    A store that does not answer is waited for. A link that it refuses is replaced a few times: links live for minutes.
    """

    def __init__(self, desk: DeskClient, http: HttpClient, deadline: StageDeadline) -> None:
        self._desk = desk
        self._http = http
        self._deadline = deadline

    def publish(self, files: Sequence[LocalFile], mark: Path, mark_of: Callable[[], Mark]) -> MarkReference:
        """Upload `files` in parallel, then the stage's commit mark, which states that everything else is there.

        All links are requested at once, so that the desk may be away from then on. A link is for one exact length,
        which a mark that times the upload does not have yet: it is padded with spaces, which JSON ignores.

        Args:
            files: everything but the mark.
            mark: where to write the mark.
            mark_of: returns the mark, as known when it is called: before and after the upload of the files.

        Raises:
            PublishError: LINK_REFUSED, DESK_UNREACHABLE or STORE_UNREACHABLE.
        """
        size = len(mark_of().dump().encode()) + _MARK_RESERVE
        mark_request = LinkRequest(file=mark.name, method="PUT", bytes=size, content_type=_MARK_TYPE)
        *links, mark_link = self._desk.links([*map(_put_request, files), mark_request])
        with ThreadPoolExecutor(max_workers=len(files)) as pool:
            list(pool.map(self._put, files, links))
        mark.write_bytes(mark_of().dump().encode().ljust(size))
        self._put(LocalFile(mark, _MARK_TYPE), mark_link)
        return MarkReference(key=mark_link.key, sha256=file_sha256(mark))

    def links_to_read(self, *names: str) -> list[Link]:
        """Return a link to each of these files, in the same order.

        Raises:
            PublishError: LINK_REFUSED or DESK_UNREACHABLE.
        """
        return self._desk.links([LinkRequest(file=name, method="GET") for name in names])

    def download(
        self, link: Link, target: Path, max_bytes: int, missing: StageError, on_bytes: OnBytes = lambda _: None
    ) -> StoredFile:
        """Download one file and return its length and digest; `on_bytes` gets the number of bytes written so far.

        Raises:
            StageError: `missing`, if the store does not have it.
            SourceError: SOURCE_TOO_LARGE beyond `max_bytes`.
            PublishError: LINK_REFUSED, DESK_UNREACHABLE or STORE_UNREACHABLE.
        """
        request = LinkRequest(file=link.file, method="GET")
        download = ResumableDownload(target, max_bytes, on_bytes)
        return self._transfer(request, link, lambda link: self._get_once(link, download, missing))

    def _put(self, file: LocalFile, link: Link) -> None:
        self._transfer(_put_request(file), link, lambda link: self._put_once(file, link))

    def _transfer(self, request: LinkRequest, link: Link, once: Callable[[Link], _T]) -> _T:
        """Return what `once` returns with a link that the store accepts."""
        refusals = 0
        while True:
            try:
                return self._deadline.retry("the object store", partial(once, link))
            except (HttpError, _RefusedError) as error:
                refusals += 1
                if isinstance(error, HttpError) or refusals == _LINKS:
                    cause = f"{request.method} {request.file}: {error}"
                    raise PublishError(FailureCode.STORE_UNREACHABLE, cause=cause) from None
            time.sleep(backoff(refusals - 1))
            link = self._desk.links([request])[0]

    def _put_once(self, file: LocalFile, link: Link) -> None:
        response = self._http.put_file(link.url, file.path, link.headers)
        if not response.is_success:
            raise _failed(response.status)

    def _get_once(self, link: Link, download: ResumableDownload, missing: StageError) -> StoredFile:
        with self._http.stream(link.url, {**link.headers, **download.range_header}) as response:
            if response.status in _MISSING_STATUSES:
                raise missing
            if response.status not in _CONTENT_STATUSES:
                raise _failed(response.status)
            return download.write(response)


def _failed(status: int) -> HttpError | _RefusedError:
    return HttpError(f"HTTP {status}") if is_transient(status) else _RefusedError(status)


def _put_request(file: LocalFile) -> LinkRequest:
    size = file.path.stat().st_size
    return LinkRequest(file=file.path.name, method="PUT", bytes=size, content_type=file.content_type)
