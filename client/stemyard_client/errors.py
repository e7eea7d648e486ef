"""Everything that can go wrong, as one tree: each error has a stable `code` and says whether a retry may help."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from stemyard_client.models import Job


class StemyardError(Exception):
    """Base of all errors of this client; the message is a sentence for people.

    Attributes:
        code: stable code, as in the table of failure codes; codes of this client itself are in lower case.
        retryable: whether the same request may succeed later.
    """

    code: str = "client_error"
    retryable: bool = False


class ConnectionFailedError(StemyardError):
    """The API or the object store could not be reached, or the connection broke off, also when it was tried again."""

    code = "connection_failed"
    retryable = True


class TransferError(StemyardError):
    """The object store refused a file or sent an incomplete one, or the file on this machine changed meanwhile."""

    code = "transfer_failed"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class InvalidAnswerError(StemyardError):
    """The API, or something in front of it, answered what Stemyard does not."""

    code = "invalid_answer"


class WaitTimeoutError(StemyardError):
    """The separation has not ended within the time given to `wait`; it goes on."""

    code = "wait_timeout"
    retryable = True


class SeparationFailedError(StemyardError):
    """The separation failed, was cancelled or was deleted; `job` is its last state."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error or f"The track {job.track_id} was deleted.")
        self.job = job
        self.code = job.code or "deleted"
        self.retryable = bool(job.retryable)


class ApiError(StemyardError):
    """The API refused a request.

    Attributes:
        status: HTTP status.
        fields: for each invalid field, what is wrong with it.
        request_id: id of the request in the API's log, if known.
        retry_after: seconds after which the request may succeed, if the API said so.
    """

    default_code: ClassVar[str] = "http_error"

    def __init__(
        self, status: int, document: Mapping[str, Any], retry_after: float | None = None, text: str = ""
    ) -> None:
        detail = document.get("detail") or text or f"The server answered {status}."
        super().__init__(str(detail))
        self.status = status
        self.code = str(document.get("code") or self.default_code)
        self.retryable = bool(document.get("retryable", status in _RETRYABLE))
        self.fields = _fields(document.get("errors"))
        self.request_id = str(document["request_id"]) if document.get("request_id") else None
        self.retry_after = retry_after


class AuthenticationError(ApiError):
    """401: the API key is missing, wrong or expired."""


class ForbiddenError(ApiError):
    """403: the key lacks a scope."""


class NotFoundError(ApiError):
    """404 or 410: there is no such track, upload or share link for this key."""


class ConflictError(ApiError):
    """409: the state of the track or upload does not allow this."""


class InvalidRequestError(ApiError):
    """Any other 4xx: the request must be changed; `fields` says where."""


class RateLimitedError(ApiError):
    """429: a rate limit or quota is reached."""


class ServerError(ApiError):
    """5xx: the service or something in front of it failed."""


_RETRYABLE: Final = frozenset({408, 429, 502, 503, 504})
_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    429: RateLimitedError,
}


def api_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Return the error for a response whose status is not a success."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else InvalidRequestError)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = {}
    if not isinstance(document, dict):
        document = {}
    text = f"The server answered {status}, and not as Stemyard does: check the URL." if not document else ""
    return kind(status, document, seconds_of(headers.get("retry-after")), text)


def _fields(errors: object) -> dict[str, str]:
    items = errors if isinstance(errors, list) else []
    return {str(item.get("field")): str(item.get("message")) for item in items if isinstance(item, dict)}


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None without one and for a date, which the API never sends."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return None
    return float(retry_after)
