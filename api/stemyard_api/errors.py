"""Errors of requests, each with its stable code and problem document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Self

from stemyard_contract.failures import FAILURES, FailureCode

PROBLEM_TYPE = "application/problem+json"
"""Media type of RFC 9457."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """Why one field of a request is invalid."""

    field: str
    message: str


class ApiError(Exception):
    """A request that cannot be served. The class defines the code, and the code's row defines status and retry."""

    code: ClassVar[FailureCode] = FailureCode.INTERNAL
    retry_after: ClassVar[int | None] = None
    """Seconds after which the same request may succeed."""

    def __init__(
        self, detail: str | None = None, fields: Sequence[FieldError] = (), retry_after: int | None = None
    ) -> None:
        self.detail = detail or FAILURES[self.code].sentence
        self.fields = tuple(fields)
        self.wait = self.retry_after if retry_after is None else retry_after
        super().__init__(self.detail)

    @classmethod
    def for_field(cls, field: str, message: str) -> Self:
        """Return the error about one field of the request."""
        return cls(f"{field}: {message}", [FieldError(field, message)])

    @property
    def status(self) -> int:
        """HTTP status of the response."""
        return FAILURES[self.code].http_status

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to this error."""
        return {} if self.wait is None else {"Retry-After": str(self.wait)}


class UnauthenticatedError(ApiError):
    """The request carries no valid API key."""

    code = FailureCode.UNAUTHENTICATED

    @property
    def headers(self) -> dict[str, str]:
        """A challenge, which RFC 9110 requires with every 401."""
        return {"WWW-Authenticate": 'Bearer realm="stemyard"'}


class ForbiddenError(ApiError):
    """The key is valid but lacks the permission."""

    code = FailureCode.FORBIDDEN


class RateLimitedError(ApiError):
    """The key or the address exceeds its rate limit."""

    code = FailureCode.RATE_LIMITED


class QuotaExceededError(ApiError):
    """The key has reached its concurrent separations or daily minutes."""

    code = FailureCode.QUOTA_EXCEEDED


class TrackCompletedError(ApiError):
    """A completed track cannot be retried."""

    code = FailureCode.TRACK_COMPLETED


class InvalidRequestError(ApiError):
    """A field of the request is invalid."""

    code = FailureCode.INVALID_REQUEST


class ModelNotEnabledError(ApiError):
    """The model is not enabled in this deployment."""

    code = FailureCode.MODEL_NOT_ENABLED


class SourceDisabledError(ApiError):
    """The deployment disables this kind of source."""

    code = FailureCode.SOURCE_DISABLED


class RequestTooLargeError(ApiError):
    """The request, or the file it announces, is larger than the service accepts."""

    code = FailureCode.REQUEST_TOO_LARGE


class EncodedBodyError(ApiError):
    """The body is compressed or otherwise encoded."""

    code = FailureCode.UNSUPPORTED_ENCODING

    @property
    def headers(self) -> dict[str, str]:
        """The accepted encoding, which RFC 9110 recommends with 415."""
        return {"Accept-Encoding": "identity"}


class TrackNotFoundError(ApiError):
    """No track has this id."""

    code = FailureCode.TRACK_NOT_FOUND


class TrackNotCompletedError(ApiError):
    """The track has no stems, or another run of it is under way."""

    code = FailureCode.TRACK_NOT_COMPLETED


class ShareNotFoundError(ApiError):
    """The token was not issued by this service."""

    code = FailureCode.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("There is no such share link.")


class ShareEndedError(ApiError):
    """The share link has expired or was revoked, or its track was deleted."""

    code = FailureCode.SHARE_ENDED


class DeliveryNotFoundError(ApiError):
    """The track has no such delivery that this key may see; there are none before its run ends."""

    code = FailureCode.NOT_FOUND

    def __init__(self, detail: str = "No webhook of this track has this id. There are none before a run ends.") -> None:
        super().__init__(detail)


class WebhookNotFoundError(ApiError):
    """The key has registered no webhook with this id."""

    code = FailureCode.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("This API key has registered no webhook with this id.")


class WebhookExistsError(ApiError):
    """The key has registered a webhook with this URL."""

    code = FailureCode.WEBHOOK_EXISTS


class WebhookLimitError(ApiError):
    """The key has registered as many webhooks as it may have."""

    code = FailureCode.WEBHOOK_LIMIT


class IdempotencyMismatchError(ApiError):
    """The Idempotency-Key was used for another request."""

    code = FailureCode.IDEMPOTENCY_MISMATCH


class UploadMissingError(ApiError):
    """The file of the upload has not been received."""

    code = FailureCode.UPLOAD_MISSING


class UploadNotFoundError(ApiError):
    """No upload of this key has this id."""

    code = FailureCode.UPLOAD_NOT_FOUND


class ObjectNotFoundError(ApiError):
    """The bucket has no object with this key."""

    code = FailureCode.OBJECT_NOT_FOUND


class SourceTooLargeError(ApiError):
    """The object is larger than the service accepts."""

    code = FailureCode.SOURCE_TOO_LARGE


class SourceGoneError(ApiError):
    """A new run needs an upload that no longer exists."""

    code = FailureCode.SOURCE_GONE


class NameConflictError(ApiError):
    """Another resource has the track's name."""

    code = FailureCode.NAME_CONFLICT


class ClaimsFullError(ApiError):
    """The track has the maximum number of claims, so this key's webhook cannot be added."""

    code = FailureCode.CLAIMS_FULL


class BeingDeletedError(ApiError):
    """The track's resource is being deleted."""

    code = FailureCode.BEING_DELETED
    retry_after = 2


class UnavailableError(ApiError):
    """A backend of the service does not respond."""

    code = FailureCode.UNAVAILABLE
    retry_after = 5


class NotConfiguredError(ApiError):
    """The deployment does not offer what is requested: it lacks optional configuration."""

    code = FailureCode.NOT_CONFIGURED


class MisconfiguredError(ApiError):
    """The deployment lacks configuration that a result needs."""

    code = FailureCode.INTERNAL_CONFIG


def problem(error: ApiError, request_id: str | None = None) -> dict[str, Any]:
    """Return the problem document of an error (RFC 9457), with the original service's `error` string."""
    return problem_document(error.code, error.status, error.detail, request_id, error.fields)


def problem_document(
    code: FailureCode,
    status: int,
    detail: str,
    request_id: str | None = None,
    fields: Sequence[FieldError] = (),
) -> dict[str, Any]:
    """Return a problem document; `error` repeats the detail for clients that read only that field."""
    document: Mapping[str, Any] = {
        "type": f"urn:stemyard:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": FAILURES[code].retryable,
        "error": detail,
        "errors": [{"field": item.field, "message": item.message} for item in fields] or None,
        "request_id": request_id,
    }
    return {key: value for key, value in document.items() if value is not None}
