"""Client of the desk, the operator's HTTP server for separators: requests presigned links and reports progress."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    Link,
    LinkRequest,
    Links,
    LinksRequest,
    Progress,
)
from stemyard_separator.errors import ConfigurationError, PublishError
from stemyard_separator.http import HttpClient, HttpError, HttpResponse, retry

_LINKS_TIMEOUT: Final = 10.0
_PROGRESS_TIMEOUT: Final = 3.0
_ATTEMPTS: Final = 6


class DeskClient:
    """Talks to the desk with the pod's projected token."""

    def __init__(self, url: str, token_path: Path, http: HttpClient) -> None:
        self._url = url.rstrip("/")
        self._token_path = token_path
        self._http = http

    def links(self, files: Sequence[LinkRequest]) -> list[Link]:
        """Return one presigned link per file, in the same order.

        Raises:
            PublishError: LINK_REFUSED, or DESK_UNREACHABLE after several attempts.
        """
        body = LinksRequest(files=list(files)).dump()
        try:
            response = retry(lambda: self._request_links(body), _ATTEMPTS)
        except HttpError as error:
            raise PublishError(FailureCode.DESK_UNREACHABLE, f"Requesting links failed: {error}.") from None
        return _parse(response, files)

    def report(self, progress: Progress) -> None:
        """Report progress once; errors are ignored."""
        try:
            self._post(DESK_PROGRESS_PATH, progress.dump(), _PROGRESS_TIMEOUT)
        except (HttpError, ConfigurationError):
            return

    def _request_links(self, body: str) -> HttpResponse:
        response = self._post(DESK_LINKS_PATH, body, _LINKS_TIMEOUT)
        if response.status >= 500 or response.status in (408, 425, 429):
            raise HttpError(f"HTTP {response.status}")
        if not response.is_success:
            raise PublishError(FailureCode.LINK_REFUSED, f"It answered {response.status}.")
        return response

    def _post(self, path: str, body: str, timeout_seconds: float) -> HttpResponse:
        return self._http.post_json(self._url + path, body, self._token(), timeout_seconds)

    def _token(self) -> str:
        """Read the token for each request: kubelet rotates it."""
        try:
            return self._token_path.read_text().strip()
        except OSError:
            raise ConfigurationError(f"There is no token for the desk at {self._token_path}.") from None


def _parse(response: HttpResponse, files: Sequence[LinkRequest]) -> list[Link]:
    try:
        links = Links.model_validate_json(response.body).links
    except ValidationError:
        raise PublishError(FailureCode.DESK_UNREACHABLE, "Its response is not a list of links.") from None
    if [(link.file, link.method) for link in links] != [(file.file, file.method) for file in files]:
        raise PublishError(FailureCode.LINK_REFUSED, "It returned links to other files.")
    return links
