"""The separator's side of the desk: asks the operator for links and tells it how far the work is."""

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
from stemyard_separator.http import HttpClient, HttpError, HttpResponse, retried

_LINKS_SECONDS: Final = 10.0
_PROGRESS_SECONDS: Final = 3.0
_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.5


class _TryAgainError(Exception):
    pass


class DeskClient:
    """The operator, as a separator knows it."""

    def __init__(self, url: str, token_path: Path, http: HttpClient) -> None:
        self._url = url.rstrip("/")
        self._token_path = token_path
        self._http = http

    def links(self, files: Sequence[LinkRequest]) -> list[Link]:
        """Return one presigned link per file, in the same order.

        Raises:
            PublishError: LINK_REFUSED, or DESK_UNREACHABLE after some tries.
        """
        body = LinksRequest(files=list(files)).dump()
        try:
            answer = retried(lambda: self._asked(body), _TryAgainError, _ATTEMPTS, _FIRST_PAUSE)
        except _TryAgainError as error:
            raise PublishError(FailureCode.DESK_UNREACHABLE, str(error)) from None
        return _parsed(answer, files)

    def report(self, progress: Progress) -> None:
        """Report progress, once; nobody minds if it does not arrive."""
        try:
            self._post(DESK_PROGRESS_PATH, progress.dump(), _PROGRESS_SECONDS)
        except (HttpError, ConfigurationError):
            return

    def _asked(self, body: str) -> HttpResponse:
        try:
            answer = self._post(DESK_LINKS_PATH, body, _LINKS_SECONDS)
        except HttpError as error:
            raise _TryAgainError(f"Asking for links failed: {error}.") from error
        if answer.status >= 500 or answer.status in (408, 425, 429):
            raise _TryAgainError(f"Asking for links was answered with {answer.status}.")
        if not answer.is_success:
            raise PublishError(FailureCode.LINK_REFUSED, f"It answered {answer.status}.")
        return answer

    def _post(self, path: str, body: str, seconds: float) -> HttpResponse:
        return self._http.post_json(self._url + path, body, self._token(), seconds)

    def _token(self) -> str:
        """Read the token anew: kubelet renews it."""
        try:
            return self._token_path.read_text().strip()
        except OSError:
            raise ConfigurationError(f"There is no token for the desk at {self._token_path}.") from None


def _parsed(answer: HttpResponse, files: Sequence[LinkRequest]) -> list[Link]:
    try:
        links = Links.model_validate_json(answer.body).links
    except ValidationError:
        raise PublishError(FailureCode.DESK_UNREACHABLE, "Its answer is not a list of links.") from None
    if [(link.file, link.method) for link in links] != [(file.file, file.method) for file in files]:
        raise PublishError(FailureCode.LINK_REFUSED, "It gave links to other files.")
    return links
