"""Downloads weight files: continued where they broke off, kept only when their digest is right, safetensors only."""

import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import ModelError
from stemyard_separator.http import HttpClient, HttpError, StreamedResponse, retried
from stemyard_separator.models.catalogue import MODEL_HOST, CatalogueEntry, WeightFile
from stemyard_separator.models.folder import ModelRecord, add_record, file_sha256, read_index

_ATTEMPTS: Final = 4
_FIRST_PAUSE: Final = 0.5
_MOST_REDIRECTS: Final = 5
_MOST_BYTES: Final = 4 << 30
_SHA256: Final = re.compile(r'^(?:W/)?"?(?:sha256:)?([0-9a-f]{64})"?$')
_STATED: Final = ("x-linked-etag", "x-checksum-sha256", "etag")
"""Headers in which hosts of models state a file's SHA-256."""
_LONGEST_HEADER: Final = 100 << 20
Watch = Callable[[int, int | None], None]
"""Told the bytes that are here, and how many there will be where that is known."""


class _TryAgainError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A complete file beside its place, and the digest it was promised to have."""

    part: Path
    stated: str | None


def prefetch(
    entry: CatalogueEntry,
    weights: WeightFile,
    folder: Path,
    http: HttpClient,
    watch: Watch,
    expected: str | None = None,
) -> ModelRecord:
    """Have one weight file in the folder, downloading what is missing of it; return its record.

    Args:
        entry: its model.
        weights: which file.
        folder: model folder.
        http: to download with.
        watch: told how far it is.
        expected: SHA-256 to insist on; otherwise the catalogue's, otherwise what the host states.

    Raises:
        ModelError: MODEL_MISSING if it cannot be had, MODEL_CORRUPT if it is not what it should be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = read_index(folder).models.get(weights.name)
    if known is not None and _is_intact(folder, known, expected):
        return known
    url = f"{os.environ.get('STEMYARD_MODEL_HOST', MODEL_HOST).rstrip('/')}/{weights.path}"
    part = folder / f".{weights.name}.safetensors.part"
    try:
        fetched = retried(lambda: _fetch(url, part, http, watch), _TryAgainError, _ATTEMPTS, _FIRST_PAUSE)
    except _TryAgainError as error:
        detail = (
            f"{weights.name} could not be downloaded from {urlsplit(url).hostname}: {error}. "
            "Where that may not be reached, copy a filled model folder here, or set STEMYARD_MODEL_HOST to a mirror."
        )
        raise ModelError(FailureCode.MODEL_MISSING, detail) from None
    return _install(entry, weights, folder, fetched, expected or weights.sha256)


def _is_intact(folder: Path, record: ModelRecord, expected: str | None) -> bool:
    path = folder / record.file
    return path.is_file() and file_sha256(path) == record.sha256 and expected in (None, record.sha256)


def _fetch(url: str, part: Path, http: HttpClient, watch: Watch) -> _Fetched:
    """Download what is missing of a file, following redirects; the first host states the digest."""
    stated: str | None = None
    for _ in range(_MOST_REDIRECTS):
        here = part.stat().st_size if part.exists() else 0
        asked = {"Range": f"bytes={here}-"} if here else {}
        try:
            with http.download(url, asked) as download:
                stated = stated or declared_digest(download.headers)
                if download.status not in (301, 302, 303, 307, 308):
                    _receive(download, part, here, watch)
                    return _Fetched(part, stated)
                url = _redirected(url, download.headers.get("location", ""))
        except HttpError as error:
            raise _TryAgainError(str(error)) from error
    raise _TryAgainError("it was redirected too often")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise ModelError(FailureCode.MODEL_MISSING, "Its host redirects to an address without TLS.")
    return target


def declared_digest(headers: Mapping[str, str]) -> str | None:
    """Return the SHA-256 that an answer's headers state, if they do."""
    for name in _STATED:
        if found := _SHA256.match(headers.get(name, "").strip()):
            return found[1]
    return None


def _receive(download: StreamedResponse, part: Path, here: int, watch: Watch) -> None:
    if download.status == 416:  # all of it is here already, or it is not the same file any longer
        return
    if download.status not in (200, 206):
        raise _TryAgainError(f"the host answered {download.status}")
    done = here if download.status == 206 else 0
    total = download.content_length + done if download.content_length is not None else None
    with part.open("ab" if done else "wb") as file:
        for block in download.blocks:
            done += len(block)
            if done > _MOST_BYTES:
                raise ModelError(FailureCode.MODEL_CORRUPT, "It is larger than any model.")
            file.write(block)
            watch(done, total)


def _install(
    entry: CatalogueEntry, weights: WeightFile, folder: Path, fetched: _Fetched, expected: str | None
) -> ModelRecord:
    digest, wanted = file_sha256(fetched.part), expected or fetched.stated
    if wanted is None:
        raise ModelError(
            FailureCode.MODEL_CORRUPT, f"Nothing says which digest {weights.name} should have; give it with --sha256."
        )
    if digest != wanted or not is_safetensors(fetched.part):
        fetched.part.unlink()
        detail = f"{weights.name} has digest {digest} instead of {wanted}, or is no safetensors file."
        raise ModelError(FailureCode.MODEL_CORRUPT, detail)
    path = folder / f"{weights.name}.safetensors"
    fetched.part.replace(path)
    record = ModelRecord(
        file=path.name,
        sha256=digest,
        bytes=path.stat().st_size,
        licence=entry.licence,
        source=entry.source,
        source_sha256=digest,
    )
    add_record(folder, weights.name, record)
    return record


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: the length of a JSON header, then the header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    if len(start) < 9:
        return False
    (length,) = struct.unpack("<Q", start[:8])
    return start[8:] == b"{" and length <= min(size - 8, _LONGEST_HEADER)
