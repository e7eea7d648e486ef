"""Downloads weight files: resumable, kept only if the digest matches, safetensors only."""

import os
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import ModelError
from stemyard_separator.http import HttpClient, HttpError, StreamedResponse, retry
from stemyard_separator.models.catalogue import MODEL_HOST, CatalogueEntry, WeightFile
from stemyard_separator.models.folder import ModelRecord, add_record, file_sha256, read_index

_ATTEMPTS: Final = 4
_MAX_REQUESTS: Final = 5
_MAX_BYTES: Final = 4 << 30
_SHA256: Final = re.compile(r'^(?:W/)?"?(?:sha256:)?([0-9a-f]{64})"?$')
_DIGEST_HEADERS: Final = ("x-linked-etag", "x-checksum-sha256", "etag")
"""Headers in which model hosts declare a file's SHA-256."""
_MAX_HEADER_BYTES: Final = 100 << 20
OnTransfer = Callable[[int, int | None], None]
"""Called with the bytes on disk and, if known, the total."""


def prefetch(
    entry: CatalogueEntry,
    weights: WeightFile,
    folder: Path,
    http: HttpClient,
    on_transfer: OnTransfer,
    sha256: str | None = None,
) -> ModelRecord:
    """Download a weight file to the model folder unless it is there; return its record.

    Args:
        entry: model it belongs to.
        weights: file to download.
        folder: model folder.
        http: HTTP client.
        on_transfer: progress callback.
        sha256: required digest; by default the catalogue's, else the one the host declares.

    Raises:
        ModelError: MODEL_MISSING if it cannot be downloaded, MODEL_CORRUPT if the digest or format is wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = read_index(folder).models.get(weights.name)
    if record is not None and _is_intact(folder, record, sha256):
        return record
    url = f"{os.environ.get('STEMYARD_MODEL_HOST', MODEL_HOST).rstrip('/')}/{weights.path}"
    part = folder / f".{weights.name}.safetensors.part"
    try:
        declared = download(url, part, http, on_transfer)
    except HttpError as error:
        detail = (
            f"{weights.name} could not be downloaded from {urlsplit(url).hostname}: {error}. "
            "Without access to it, copy a filled model folder here, or set STEMYARD_MODEL_HOST to a mirror."
        )
        raise ModelError(FailureCode.MODEL_MISSING, detail) from None
    return _install(entry, weights, folder, part, sha256 or weights.sha256 or declared)


def _is_intact(folder: Path, record: ModelRecord, sha256: str | None) -> bool:
    path = folder / record.file
    return path.is_file() and file_sha256(path) == record.sha256 and sha256 in (None, record.sha256)


def download(url: str, part: Path, http: HttpClient, on_transfer: OnTransfer) -> str | None:
    """Download the missing bytes of a file, following redirects and with retries; return the digest that is declared.

    Raises:
        HttpError: it cannot be downloaded.
        ModelError: MODEL_MISSING if a redirect leads to an address without TLS, MODEL_CORRUPT if it is far too large.
    """
    return retry(lambda: _download(url, part, http, on_transfer), _ATTEMPTS)


def _download(url: str, part: Path, http: HttpClient, on_transfer: OnTransfer) -> str | None:
    """Download once; the first declared digest counts."""
    declared: str | None = None
    for _ in range(_MAX_REQUESTS):
        offset = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with http.stream(url, headers) as response:
            declared = declared or declared_digest(response.headers)
            if response.status not in (301, 302, 303, 307, 308):
                _write(response, part, offset, on_transfer)
                return declared
            url = _redirect_target(url, response.headers.get("location", ""))
    raise HttpError("too many redirects")


def _redirect_target(url: str, location: str) -> str:
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise ModelError(FailureCode.MODEL_MISSING, "Its host redirects to an address without TLS.")
    return target


def declared_digest(headers: Mapping[str, str]) -> str | None:
    """Return the SHA-256 declared in a response's headers, if any."""
    for name in _DIGEST_HEADERS:
        if match := _SHA256.match(headers.get(name, "").strip()):
            return match[1]
    return None


def _write(response: StreamedResponse, part: Path, offset: int, on_transfer: OnTransfer) -> None:
    if response.status == 416:  # the part is complete, or the file on the host has changed: its digest decides
        return
    if response.status not in (200, 206):
        raise HttpError(f"HTTP {response.status}")
    written = offset if response.status == 206 else 0
    total = response.content_length + written if response.content_length is not None else None
    with part.open("ab" if written else "wb") as file:
        for chunk in response.chunks:
            written += len(chunk)
            if written > _MAX_BYTES:
                raise ModelError(FailureCode.MODEL_CORRUPT, f"It is larger than {_MAX_BYTES >> 30} GiB.")
            file.write(chunk)
            on_transfer(written, total)


def _install(entry: CatalogueEntry, weights: WeightFile, folder: Path, part: Path, expected: str | None) -> ModelRecord:
    digest = file_sha256(part)
    if expected is None:
        detail = f"No digest of {weights.name} is known; give it with --sha256."
        raise ModelError(FailureCode.MODEL_CORRUPT, detail)
    if digest != expected or not _is_safetensors(part):
        part.unlink()
        detail = f"{weights.name} has digest {digest} instead of {expected}, or is not a safetensors file."
        raise ModelError(FailureCode.MODEL_CORRUPT, detail)
    path = folder / f"{weights.name}.safetensors"
    part.replace(path)
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


def _is_safetensors(path: Path) -> bool:
    """Return whether a file starts with a safetensors header: its length as 64-bit little endian, then JSON."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    if len(start) < 9:
        return False
    (length,) = struct.unpack("<Q", start[:8])
    return start[8:] == b"{" and length <= min(size - 8, _MAX_HEADER_BYTES)
