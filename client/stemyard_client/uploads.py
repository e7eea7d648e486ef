"""Uploads of files: small ones whole, large ones in parts that can be interrupted and continued."""

import hashlib
import mimetypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from stemyard_client.answers import parsed
from stemyard_client.effects import Operation, Request, Send, Sleep, work
from stemyard_client.errors import ApiError, NotFoundError, TransferError
from stemyard_client.models import PartLink, PartLinks, UploadSlot, UploadState
from stemyard_client.retries import Retries, call, unreachable

WHOLE_BYTES: Final = 16 << 20
"""Largest file that is sent in one request, and so read into memory."""
_FILE_SECONDS: Final = 600.0
_ALREADY_THERE: Final = 412
"""Answer of the store to a repeated PUT of a file whose first response was lost."""
STORE_REPEATED: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of the object store after which a request is repeated."""
OnBytes = Callable[[int, int], None]
"""Called with the bytes that have been sent or received, and the total."""


OnBegin = Callable[[str], None]
"""Called with an upload id."""


def ignore_begin(_upload_id: str) -> None:
    """Do nothing with the id of an upload."""


def ignore_progress(_done: int, _size: int) -> None:
    """Do nothing with the progress of a transfer."""


def upload(
    path: Path,
    retries: Retries,
    *,
    upload_id: str | None = None,
    on_begin: OnBegin = ignore_begin,
    on_bytes: OnBytes = ignore_progress,
) -> Operation[str]:
    """Upload a file and return its upload id.

    Args:
        path: the file.
        retries: how requests are repeated.
        upload_id: an upload in parts that was interrupted. If it is not known any more, another is begun.
        on_begin: called with the id of an upload that is begun, to continue it after an interruption.
        on_bytes: called with the progress.

    Raises:
        OSError: the file cannot be read.
        ApiError: the API refused it.
        TransferError: the store refused it, or the file was changed meanwhile.
        ConnectionFailedError: API or store could not be reached.
    """
    known = None if upload_id is None else (yield from _known(upload_id, retries))
    target = known or (yield from begin(path, retries))
    if known is None:
        on_begin(target.upload_id)
    if isinstance(target, UploadState):
        return (yield from _in_parts(path, target, retries, on_bytes))
    content = yield from work(path.read_bytes)
    yield from _put(PartLink(number=1, url=target.url, headers=target.headers), content, retries)
    on_bytes(len(content), len(content))
    return target.upload_id


def begin(path: Path, retries: Retries) -> Operation[UploadSlot | UploadState]:
    """Announce a file; return where to send it whole, or the upload in parts that was begun."""
    size = (yield from work(path.stat)).st_size
    announced = {"filename": path.name[-255:], "size": size, "content_type": _media_type(path)}
    if size <= WHOLE_BYTES:
        response = yield from call(Request("POST", "/uploads", json=announced), retries)
        return parsed(UploadSlot, response)
    response = yield from call(Request("POST", "/uploads/multipart", json=announced), retries)
    return parsed(UploadState, response)


def _media_type(path: Path) -> str:
    guessed = mimetypes.guess_type(path.name)[0] or ""
    return guessed if guessed.startswith(("audio/", "video/")) else "application/octet-stream"


def _known(upload_id: str, retries: Retries) -> Operation[UploadState | None]:
    try:
        response = yield from call(Request("GET", f"/uploads/{upload_id}"), retries)
    except NotFoundError:
        return None
    except ApiError as error:
        if error.code == "UPLOAD_MISSING":  # one of a whole file, of which nothing arrived
            return None
        raise
    return parsed(UploadState, response)


def _in_parts(path: Path, state: UploadState, retries: Retries, on_bytes: OnBytes) -> Operation[str]:
    if state.complete:
        return state.upload_id
    if (yield from work(path.stat)).st_size != state.size:
        raise TransferError(f"{path} has another size than when its upload began.")
    received = {part.number: part.sha256 for part in state.received}
    for number in range(1, state.parts + 1):
        content, digest = yield from work(partial(_read, path, (number - 1) * state.part_bytes, state.part_bytes))
        if received.get(number) != digest:
            yield from _send_part(state.upload_id, number, content, digest, retries)
        on_bytes(min(number * state.part_bytes, state.size), state.size)
    yield from call(Request("POST", f"/uploads/{state.upload_id}/complete", read_seconds=_FILE_SECONDS), retries)
    return state.upload_id


def _read(path: Path, offset: int, size: int) -> tuple[bytes, str]:
    """Return a part of a file and its SHA-256."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
    return content, hashlib.sha256(content).hexdigest()


def _send_part(upload_id: str, number: int, content: bytes, digest: str, retries: Retries) -> Operation[None]:
    wanted = {"parts": [{"number": number, "sha256": digest}]}
    response = yield from call(Request("POST", f"/uploads/{upload_id}/parts", json=wanted), retries)
    for link in parsed(PartLinks, response).parts:
        yield from _put(link, content, retries)


def _put(link: PartLink, content: bytes, retries: Retries) -> Operation[None]:
    request = Request("PUT", link.url, headers=link.headers, content=content, read_seconds=_FILE_SECONDS)
    attempt = 0
    while True:
        attempt += 1
        pause = retries.pause(attempt, None)
        try:
            response: httpx.Response = yield Send(request)
        except httpx.TransportError as error:
            if pause is None:
                raise unreachable(request, error) from error
        else:
            if response.is_success or response.status_code == _ALREADY_THERE:
                return
            if response.status_code not in STORE_REPEATED or pause is None:
                detail = f"The object store refused the file with {response.status_code}."
                raise TransferError(detail, retryable=response.status_code in STORE_REPEATED)
        yield Sleep(pause)
