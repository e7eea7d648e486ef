"""Downloads a media file from a link that somebody gave, with every hop's address checked and pinned."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import StoredFile
from stemyard_separator.addresses import Target, resolve
from stemyard_separator.errors import SourceError
from stemyard_separator.http import Download, HttpClient, HttpError
from stemyard_separator.settings import Network
from stemyard_separator.transfer.download import Incoming

_HOPS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_STATUS_CODES: Final = MappingProxyType(
    {
        401: FailureCode.SOURCE_LOGIN_REQUIRED,
        403: FailureCode.SOURCE_FORBIDDEN,
        407: FailureCode.SOURCE_LOGIN_REQUIRED,
        408: FailureCode.SOURCE_NETWORK,
        429: FailureCode.SOURCE_RATE_LIMITED,
        451: FailureCode.SOURCE_GEO_BLOCKED,
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a download may take.

    Attributes:
        most_bytes: of the body.
        seconds: in all, redirects included.
        allowed: networks that may be reached although they are not public.
    """

    most_bytes: int
    seconds: float
    allowed: Sequence[Network] = ()


def download_link(url: str, target: Path, bounds: Bounds, http: HttpClient) -> StoredFile:
    """Write what a link leads to into `target`.

    Raises:
        SourceError: SOURCE_ADDRESS_REFUSED, SOURCE_TOO_LARGE, SOURCE_NETWORK, or what the answer's status means.
    """
    until = time.monotonic() + bounds.seconds
    for _ in range(_HOPS):
        try:
            with _opened(resolve(url, bounds.allowed), http) as download:
                if download.status not in _REDIRECTS:
                    _check_answer(download)
                    timed = replace(download, blocks=_timed(download.blocks, until, bounds.seconds))
                    return Incoming(target, bounds.most_bytes).take(timed)
                url = urljoin(url, download.headers.get("location", ""))
        except HttpError as error:
            raise SourceError(FailureCode.SOURCE_NETWORK, f"{error}.") from None
    raise SourceError(FailureCode.SOURCE_UNAVAILABLE, f"It redirects more than {_HOPS - 1} times.")


def _timed(blocks: Iterator[bytes], until: float, seconds: float) -> Iterator[bytes]:
    """Yield blocks until it is too late: a body that drips never falls silent."""
    for block in blocks:
        if time.monotonic() > until:
            raise SourceError(FailureCode.SOURCE_NETWORK, f"The download took longer than {seconds:g} s.")
        yield block


def link_title(url: str) -> str | None:
    """Return the file name in a link without its ending, for want of a better title."""
    return Path(unquote(urlsplit(url).path)).stem or None


@contextmanager
def _opened(target: Target, http: HttpClient) -> Iterator[Download]:
    with ExitStack() as stack:
        yield _first_answer(target, http, stack)


def _first_answer(target: Target, http: HttpClient, stack: ExitStack) -> Download:
    """Return the answer of the first of the target's addresses that gives one."""
    headers = {"Host": target.authority, "User-Agent": "stemyard", "Accept": "*/*", "Accept-Encoding": "identity"}
    name = target.host if target.scheme == "https" else None
    failure = HttpError("no address")
    for address in target.addresses:
        try:
            return stack.enter_context(http.download(target.pinned(address), headers, name))
        except HttpError as error:
            failure = error
    raise failure


def _check_answer(download: Download) -> None:
    if download.status != 200:
        code = FailureCode.SOURCE_NETWORK if download.status >= 500 else FailureCode.SOURCE_UNAVAILABLE
        raise SourceError(_STATUS_CODES.get(download.status, code), f"It answered {download.status}.")
    encoding = download.headers.get("content-encoding", "identity")
    if encoding != "identity":
        detail = f"Its host sends it as {encoding[:32]}, which was not asked for."
        raise SourceError(FailureCode.SOURCE_UNDECODABLE, detail)
