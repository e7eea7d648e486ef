"""Client of the desk, the operator's HTTP server for separators: requests links, reports progress and the end."""

import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    DESK_FINISHED_PATH,
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    Finished,
    LeasedSeparation,
    Link,
    LinkRequest,
    Links,
    LinksRequest,
    Progress,
)
from stemyard_contract.leasing import LEASE_LOST
from stemyard_separator.errors import ConfigurationError, LeaseLostError, PublishError
from stemyard_separator.http import HttpClient, HttpError, HttpResponse, retry
from stemyard_separator.logs import log
from stemyard_separator.transfer.deadline import StageDeadline

_LINKS_TIMEOUT: Final = 10.0
_PROGRESS_TIMEOUT: Final = 3.0
_FINISHED_TIMEOUT: Final = 2.0
_FINISHED_ATTEMPTS: Final = 3
_FINISHED_PAUSE: Final = 0.2
"""Seconds before the second of these attempts."""
_UNAUTHENTICATED: Final = 401


class DeskClient:
    """Talks to the desk with the pod's projected token; about a leased song, if one is given."""

    def __init__(
        self,
        url: str,
        token_path: Path,
        http: HttpClient,
        deadline: StageDeadline,
        leased: LeasedSeparation | None = None,
    ) -> None:
        self._leased = leased
        self._is_lost = False
        self._url = url.rstrip("/")
        self._token_path = token_path
        self._http = http
        self._deadline = deadline

    def links(self, files: Sequence[LinkRequest]) -> list[Link]:
        """Return one presigned link per file, in the same order; wait for a desk that does not answer.

        Raises:
            LeaseLostError: the song is not held any more.
            PublishError: LINK_REFUSED, or DESK_UNREACHABLE at the stage's deadline.
        """
        body = LinksRequest(files=list(files), separation=self._leased).dump()
        try:
            links = self._deadline.retry("the desk", lambda: self._request_links(body))
        except HttpError as error:
            raise PublishError(FailureCode.DESK_UNREACHABLE, cause=f"requesting links: {error}") from None
        if [(link.file, link.method) for link in links] != [(file.file, file.method) for file in files]:
            raise PublishError(FailureCode.LINK_REFUSED, "It returned links to other files.")
        return links

    def report(self, progress: Progress) -> None:
        """Report progress once; errors are ignored, but that a leased song is lost is remembered."""
        body = progress.model_copy(update={"separation": self._leased}).dump()
        try:
            response = self._post(DESK_PROGRESS_PATH, body, self._token(), _PROGRESS_TIMEOUT)
            self._is_lost = self._is_lost or self._says_lost(response)
        except (HttpError, ConfigurationError):
            return

    def check_held(self) -> None:
        """Raise LeaseLostError if the desk has said that the leased song is not held any more."""
        if self._is_lost:
            raise LeaseLostError

    def _says_lost(self, response: HttpResponse) -> bool:
        return self._leased is not None and response.status == LEASE_LOST

    def finish(self, finished: Finished) -> None:
        """Report that the commit mark is written; a few attempts within seconds, and no error.

        The operator goes on sooner for it. Without it, or with an operator that does not know this call, it goes on
        when the Job ends.
        """
        body = finished.model_copy(update={"separation": self._leased}).dump()
        try:
            retry(lambda: self._request_finish(body), _FINISHED_ATTEMPTS, first_pause=_FINISHED_PAUSE)
        except (HttpError, ConfigurationError) as error:
            log("end of the stage not reported to the operator", reason=str(error))

    def _request_finish(self, body: str) -> None:
        response = self._post(DESK_FINISHED_PATH, body, self._token(), _FINISHED_TIMEOUT)
        if response.is_transient:
            # a replica that does not lead closes the connection: the next one may reach the leader
            raise HttpError(f"HTTP {response.status}")

    def _request_links(self, body: str) -> list[Link]:
        token = self._token()
        response = self._post(DESK_LINKS_PATH, body, token, _LINKS_TIMEOUT)
        if response.is_transient:
            raise HttpError(f"HTTP {response.status}")
        if response.status == _UNAUTHENTICATED and _has_expired(token):
            # the kubelet could not renew it while the control plane was away, and will do so soon
            raise HttpError("the token has expired")
        if self._says_lost(response):
            raise LeaseLostError
        if not response.is_success:
            raise PublishError(FailureCode.LINK_REFUSED, f"It answered {response.status}.")
        try:
            return Links.model_validate_json(response.body).links
        except ValidationError:
            raise HttpError("its response is not a list of links") from None

    def _post(self, path: str, body: str, token: str, timeout_seconds: float) -> HttpResponse:
        return self._http.post_json(self._url + path, body, token, timeout_seconds)

    def _token(self) -> str:
        """Read the token for each request: kubelet rotates it."""
        try:
            return self._token_path.read_text().strip()
        except OSError:
            raise ConfigurationError(f"There is no token for the desk at {self._token_path}.") from None


def _has_expired(token: str) -> bool:
    """Return whether a JWT's `exp` has passed (RFC 7519); False for anything else."""
    claims = token.split(".")[1:2]
    try:
        content = base64.urlsafe_b64decode(claims[0] + "==")
        return float(json.loads(content)["exp"]) <= time.time()
    except (IndexError, KeyError, TypeError, ValueError):
        return False
