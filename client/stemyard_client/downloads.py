"""Downloads of stems: each to a `.part` file, which is continued after an interruption and then renamed."""

import filecmp
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from stemyard_client.effects import Open, Operation, Read, Request, Sleep, work
from stemyard_client.errors import ConnectionFailedError, StemyardError, TransferError
from stemyard_client.models import Job
from stemyard_client.operations import Operations
from stemyard_client.retries import unreachable
from stemyard_client.uploads import STORE_REPEATED, OnBytes, ignore_progress
from stemyard_contract.download_name import stem_name

_LINK_ENDED: Final = 403
_RANGE_BEYOND: Final = 416
_CHUNK_SECONDS: Final = 60.0
_STEM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""Stems of later versions, too. What else a server may send would choose the name of the file: `.x`, `../x`."""
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_ENDING: Final = re.compile(r"[A-Za-z0-9]{1,8}")
_MD5: Final = re.compile(r'"([0-9a-f]{32})"')
"""ETag of an object that was stored whole and is not encrypted with a key of the user's: its MD5."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a stem goes. The name of the part has the object's, which is another for each run of a separation."""

    stem: str
    link: str
    path: Path

    @property
    def part(self) -> Path:
        identity = hashlib.sha256(urlsplit(self.link).path.encode()).hexdigest()[:16]
        return self.path.with_name(f".{self.stem}-{identity}.part")


def download(
    operations: Operations,
    track_id: str,
    folder: Path,
    stems: Sequence[str] | None,
    *,
    overwrite: bool,
    on_bytes: OnBytes = ignore_progress,
) -> Operation[dict[str, Path]]:
    """Download stems of a completed track; return the file of each.

    Args:
        operations: the API.
        track_id: the track.
        folder: created if it does not exist.
        stems: names of the stems; None for all.
        overwrite: whether files with other content may be replaced. One with the same content counts as downloaded.
        on_bytes: called with the progress of each stem.

    Raises:
        StemyardError: the track is not completed, or lacks a stem.
        TransferError: a file is in the way, the store refuses, or no file can be named as the API does.
        ConnectionFailedError: API or store could not be reached.
        OSError: a file cannot be written.
    """
    files: dict[str, Path] = {}
    job = yield from operations.job(track_id)
    for stem in _wanted(job, stems):
        target = _target(job, stem, folder)
        if not (yield from _fetch(operations, target, overwrite, on_bytes)):
            job = yield from operations.job(track_id)  # the link has expired meanwhile
            target = _target(job, stem, folder)
            if not (yield from _fetch(operations, target, overwrite, on_bytes)):
                raise TransferError(f"The object store refused the link to {stem} with {_LINK_ENDED}.")
        files[stem] = target.path
    return files


def _wanted(job: Job, stems: Sequence[str] | None) -> list[str]:
    links = job.links
    if not links:
        raise StemyardError(f"The track {job.track_id} is not completed but {job.status}; it has no stems.")
    if missing := [stem for stem in stems or () if stem not in links]:
        raise StemyardError(f"The track has no stem {', '.join(missing)}; it has {', '.join(links)}.")
    return list(stems or links)


def _target(job: Job, stem: str, folder: Path) -> _Target:
    link = job.links[stem]
    ending = _ending(link)
    if _STEM.fullmatch(stem) is None or _ENDING.fullmatch(ending) is None:
        raise TransferError(f"The API names a stem {stem!r} with the ending {ending!r}, and no file can be called so.")
    name = stem_name(job.title or job.query, job.artist, job.track_id, stem, ending)
    return _Target(stem, link, folder / name)


def _ending(link: str) -> str:
    try:
        return urlsplit(link).path.rpartition(".")[2]
    except ValueError:
        return ""


def _fetch(operations: Operations, target: _Target, overwrite: bool, on_bytes: OnBytes) -> Operation[bool]:
    """Download one stem with repetitions; return False if its link has ended."""
    yield from work(lambda: target.path.parent.mkdir(parents=True, exist_ok=True))
    attempt = 0
    while True:
        size = yield from work(lambda: _size(target.part))
        try:
            done = yield from _receive(target, size, overwrite, on_bytes)
        except (ConnectionFailedError, TransferError) as error:
            grown = (yield from work(lambda: _size(target.part))) > size
            attempt = 1 if grown else attempt + 1  # an attempt that got further counts as the first
            pause = operations.retries.pause(attempt, None)
            if not error.retryable or pause is None:
                raise
            yield Sleep(pause)
        else:
            return done


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(target: _Target, offset: int, overwrite: bool, on_bytes: OnBytes) -> Operation[bool]:
    headers = {"Range": f"bytes={offset}-", "Accept-Encoding": "identity"}
    request = Request("GET", target.link, headers=headers, read_seconds=_CHUNK_SECONDS)
    try:
        response: httpx.Response = yield Open(request)
        if response.status_code == _LINK_ENDED:
            return False
        start, total = _extent(response, offset)
        if target.path.exists() and not overwrite:
            if target.path.stat().st_size != total:
                raise _in_the_way(target)
            tag = response.headers.get("etag", "")
            # stems of one length have one size, whatever is in them: a bit rate is constant, and WAV is
            if (yield from work(lambda: _has_tag(target.path, tag))):
                return True
        with target.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            while start < total and (chunk := (yield Read(response))):
                file.write(chunk)
                start += len(chunk)
                on_bytes(start, total)
    except httpx.TransportError as error:
        raise unreachable(request, error) from error
    if start != total:
        raise TransferError(f"{target.path.name} has {start} bytes instead of {total}.", retryable=True)
    yield from work(lambda: _publish(target, overwrite))
    return True


def _has_tag(path: Path, tag: str) -> bool:
    """Return whether a file is what an object's ETag says; False if that says nothing."""
    found = _MD5.fullmatch(tag)
    if found is None:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest() == found[1]


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def _publish(target: _Target, overwrite: bool) -> None:
    """Give the part its name, which another download may have taken meanwhile, perhaps with the same content."""
    if not overwrite:
        try:
            target.path.open("xb").close()
        except FileExistsError as error:
            if not target.path.is_file() or not filecmp.cmp(target.part, target.path, shallow=False):
                raise _in_the_way(target) from error
    target.part.replace(target.path)


def _in_the_way(target: _Target) -> TransferError:
    return TransferError(f"{target.path} exists and is another file; move it, or allow it to be replaced.")


def _extent(response: httpx.Response, offset: int) -> tuple[int, int]:
    """Return where the response's bytes begin, and the size of the whole file."""
    status, headers = response.status_code, response.headers
    total = headers.get("content-range", "").rpartition("/")[2]
    if status == 206 and _SIZE.fullmatch(total):
        return offset, int(total)
    if status == _RANGE_BEYOND and (total == str(offset) or offset == 0):
        return offset, offset  # all of it is there already, or the file is empty
    if status == 200 and _SIZE.fullmatch(headers.get("content-length", "")):
        return 0, int(headers["content-length"])
    raise TransferError(f"The object store refused a stem with {status}.", retryable=status in STORE_REPEATED)
