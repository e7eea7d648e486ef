"""Downloads a media file from a link that somebody gave, with every hop's address checked and pinned."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import StoredFile
from stemyard_separator.addresses import Target, resolve
from stemyard_separator.errors import SourceError
from stemyard_separator.http import Download, HttpClient, HttpError
from stemyard_separator.incoming import Incoming
from stemyard_separator.settings import Network

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


def download_link(url: str, target: Path, most_bytes: int, allowed: Sequence[Network], http: HttpClient) -> StoredFile:
    """Write what a link leads to into `target`.

    Raises:
        SourceError: SOURCE_ADDRESS_REFUSED, SOURCE_TOO_LARGE, SOURCE_NETWORK, or what the answer's status means.
    """
    for _ in range(_HOPS):
        try:
            with _opened(resolve(url, allowed), http) as download:
                if download.status not in _REDIRECTS:
                    _check_status(download.status)
                    return Incoming(target, most_bytes).take(download)
                url = urljoin(url, download.headers.get("location", ""))
        except HttpError as error:
            raise SourceError(FailureCode.SOURCE_NETWORK, f"{error}.") from None
    raise SourceError(FailureCode.SOURCE_UNAVAILABLE, f"It redirects more than {_HOPS - 1} times.")


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


def _check_status(status: int) -> None:
    if status == 200:
        return
    code = FailureCode.SOURCE_NETWORK if status >= 500 else FailureCode.SOURCE_UNAVAILABLE
    raise SourceError(_STATUS_CODES.get(status, code), f"It answered {status}.")
