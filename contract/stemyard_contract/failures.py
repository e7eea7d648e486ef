"""The table of failure codes: meaning, retryability, exit code, HTTP status and message of each."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Stage(StrEnum):
    """Stage at which a separation can fail."""

    REQUEST = "request"
    FETCH = "fetch"
    SEPARATE = "separate"
    PUBLISH = "publish"
    CONTROL = "control"


class FailureCode(StrEnum):
    """Stable failure codes: clients, alerts and retry policies may depend on them."""

    # the request itself
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    INVALID_REQUEST = "INVALID_REQUEST"
    TRACK_NOT_FOUND = "TRACK_NOT_FOUND"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    SHARE_ENDED = "SHARE_ENDED"
    TRACK_NOT_COMPLETED = "TRACK_NOT_COMPLETED"
    MODEL_NOT_ENABLED = "MODEL_NOT_ENABLED"
    SOURCE_DISABLED = "SOURCE_DISABLED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    HEADERS_TOO_LARGE = "HEADERS_TOO_LARGE"
    UNSUPPORTED_ENCODING = "UNSUPPORTED_ENCODING"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    UPLOAD_MISSING = "UPLOAD_MISSING"
    UPLOAD_NOT_FOUND = "UPLOAD_NOT_FOUND"
    CLAIMS_FULL = "CLAIMS_FULL"
    WEBHOOK_EXISTS = "WEBHOOK_EXISTS"
    WEBHOOK_LIMIT = "WEBHOOK_LIMIT"
    NAME_CONFLICT = "NAME_CONFLICT"
    TRACK_COMPLETED = "TRACK_COMPLETED"
    BEING_DELETED = "BEING_DELETED"
    UNAVAILABLE = "UNAVAILABLE"
    NOT_CONFIGURED = "NOT_CONFIGURED"
    INTERNAL = "INTERNAL"
    # fetch
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"
    SOURCE_LOGIN_REQUIRED = "SOURCE_LOGIN_REQUIRED"
    SOURCE_AGE_RESTRICTED = "SOURCE_AGE_RESTRICTED"
    SOURCE_GEO_BLOCKED = "SOURCE_GEO_BLOCKED"
    SOURCE_LIVE = "SOURCE_LIVE"
    SOURCE_DRM = "SOURCE_DRM"
    SOURCE_TOO_LONG = "SOURCE_TOO_LONG"
    SOURCE_TOO_LARGE = "SOURCE_TOO_LARGE"
    SOURCE_TOO_SHORT = "SOURCE_TOO_SHORT"
    SOURCE_UNDECODABLE = "SOURCE_UNDECODABLE"
    SOURCE_ADDRESS_REFUSED = "SOURCE_ADDRESS_REFUSED"
    SOURCE_GONE = "SOURCE_GONE"
    OBJECT_NOT_FOUND = "OBJECT_NOT_FOUND"
    SOURCE_BOT_CHECK = "SOURCE_BOT_CHECK"
    SOURCE_RATE_LIMITED = "SOURCE_RATE_LIMITED"
    SOURCE_FORBIDDEN = "SOURCE_FORBIDDEN"
    SOURCE_NETWORK = "SOURCE_NETWORK"
    EXTRACTOR_BROKEN = "EXTRACTOR_BROKEN"
    # separate
    MODEL_MISSING = "MODEL_MISSING"
    MODEL_CORRUPT = "MODEL_CORRUPT"
    DEVICE_UNAVAILABLE = "DEVICE_UNAVAILABLE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    SEPARATION_INVALID = "SEPARATION_INVALID"
    # publish
    LINK_REFUSED = "LINK_REFUSED"
    STORE_UNREACHABLE = "STORE_UNREACHABLE"
    ARTIFACT_MISMATCH = "ARTIFACT_MISMATCH"
    # any stage, and what only the operator observes
    INTERNAL_IO = "INTERNAL_IO"
    INTERNAL_CONFIG = "INTERNAL_CONFIG"
    DESK_UNREACHABLE = "DESK_UNREACHABLE"
    JOB_LOST = "JOB_LOST"
    POD_FAILED = "POD_FAILED"
    DISRUPTED = "DISRUPTED"
    EVICTED = "EVICTED"
    FETCH_DEADLINE = "FETCH_DEADLINE"
    START_DEADLINE = "START_DEADLINE"
    QUEUE_DEADLINE = "QUEUE_DEADLINE"
    SEPARATE_DEADLINE = "SEPARATE_DEADLINE"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the table.

    Attributes:
        code: stable code.
        stage: stage at which it happens; the reported stage may be more specific.
        retryable: whether a retry may succeed without a change by the user.
        exit_code: exit code of the separator (0 if the separator never reports it): 10 to 29 in any stage, 30 to 59 in
            fetch, 60 to 79 in separate, 80 to 99 in publish.
        http_status: HTTP status if the request itself fails with this code.
        sentence: message for users: what happened and, if possible, what to change.
        least_pause_seconds: minimum delay before a retry.
        most_retries: maximum number of useful retries, None if unknown.
    """

    code: FailureCode
    stage: Stage
    retryable: bool
    exit_code: int
    http_status: int
    sentence: str
    least_pause_seconds: float = 0
    most_retries: int | None = None


_REQUEST, _FETCH, _SEPARATE, _PUBLISH, _CONTROL = Stage
_C = FailureCode
_LOCKED_OUT: Final = 900.0
"""Minimum seconds for which YouTube blocks an IP address."""

_ROWS: Final = (
    Failure(_C.UNAUTHENTICATED, _REQUEST, False, 0, 401, "Send a valid API key in the X-API-Key header."),
    Failure(_C.FORBIDDEN, _REQUEST, False, 0, 403, "This API key may not do that."),
    Failure(_C.RATE_LIMITED, _REQUEST, True, 0, 429, "Too many requests; try again after the time in Retry-After."),
    Failure(_C.QUOTA_EXCEEDED, _REQUEST, True, 0, 429, "This API key's quota is used up for now."),
    Failure(_C.IDEMPOTENCY_MISMATCH, _REQUEST, False, 0, 422, "The Idempotency-Key was used for another request."),
    Failure(_C.INVALID_REQUEST, _REQUEST, False, 0, 422, "The request is not valid."),
    Failure(_C.TRACK_NOT_FOUND, _REQUEST, False, 0, 404, "No track has this id."),
    Failure(_C.NOT_FOUND, _REQUEST, False, 0, 404, "There is nothing at this address."),
    Failure(_C.METHOD_NOT_ALLOWED, _REQUEST, False, 0, 405, "This address does not take that method."),
    Failure(_C.SHARE_ENDED, _REQUEST, False, 0, 410, "This link has expired or was revoked, or its track was deleted."),
    Failure(_C.TRACK_NOT_COMPLETED, _REQUEST, False, 0, 409, "The track has no stems: it is not completed."),
    Failure(_C.MODEL_NOT_ENABLED, _REQUEST, False, 0, 422, "This model is not enabled."),
    Failure(_C.SOURCE_DISABLED, _REQUEST, False, 30, 403, "This kind of source is disabled."),
    Failure(_C.REQUEST_TOO_LARGE, _REQUEST, False, 0, 413, "This is larger than the service accepts."),
    Failure(_C.HEADERS_TOO_LARGE, _REQUEST, False, 0, 431, "The headers are larger than the service accepts."),
    Failure(_C.UNSUPPORTED_ENCODING, _REQUEST, False, 0, 415, "Send the body uncompressed, without Content-Encoding."),
    Failure(_C.REQUEST_TIMEOUT, _REQUEST, True, 0, 408, "The request was not received in time."),
    Failure(_C.UPLOAD_MISSING, _REQUEST, True, 0, 409, "The upload's bytes have not arrived; PUT the file first."),
    Failure(_C.UPLOAD_NOT_FOUND, _REQUEST, False, 0, 404, "No upload of this key has this id."),
    Failure(_C.CLAIMS_FULL, _REQUEST, False, 0, 409, "Too many API keys have requested this track."),
    Failure(_C.WEBHOOK_EXISTS, _REQUEST, False, 0, 409, "This API key has registered a webhook with this URL."),
    Failure(_C.WEBHOOK_LIMIT, _REQUEST, False, 0, 409, "This API key has registered as many webhooks as it may have."),
    Failure(_C.NAME_CONFLICT, _REQUEST, False, 0, 409, "Another resource already has this name."),
    Failure(
        _C.TRACK_COMPLETED, _REQUEST, False, 0, 409, "The track is completed; submit it with cache: refresh instead."
    ),
    Failure(_C.BEING_DELETED, _REQUEST, True, 0, 503, "The track is being deleted; try again in a moment."),
    Failure(_C.UNAVAILABLE, _REQUEST, True, 0, 503, "A backend of the service is unavailable; try again shortly."),
    Failure(_C.NOT_CONFIGURED, _REQUEST, False, 0, 501, "This service is not configured to do that."),
    Failure(_C.INTERNAL, _CONTROL, True, 10, 500, "An unexpected error occurred in the service."),
    Failure(_C.INTERNAL_IO, _CONTROL, True, 11, 500, "A disk or pipe of the worker failed."),
    Failure(_C.INTERNAL_CONFIG, _CONTROL, False, 12, 500, "The service is not configured correctly."),
    Failure(_C.DESK_UNREACHABLE, _CONTROL, True, 13, 503, "The worker could not reach the operator."),
    Failure(_C.SOURCE_NOT_FOUND, _FETCH, False, 31, 404, "No recording matches this query."),
    Failure(_C.SOURCE_UNAVAILABLE, _FETCH, False, 32, 404, "The recording is private, removed or does not exist."),
    Failure(_C.SOURCE_LOGIN_REQUIRED, _FETCH, False, 33, 422, "The recording requires a login."),
    Failure(_C.SOURCE_AGE_RESTRICTED, _FETCH, False, 34, 422, "The recording is age-restricted."),
    Failure(_C.SOURCE_GEO_BLOCKED, _FETCH, False, 35, 422, "The recording is not available in the service's country."),
    Failure(_C.SOURCE_LIVE, _FETCH, False, 36, 422, "Live and upcoming streams cannot be separated."),
    Failure(_C.SOURCE_DRM, _FETCH, False, 37, 422, "The recording is protected by DRM."),
    Failure(_C.SOURCE_TOO_LONG, _FETCH, False, 38, 422, "The recording is longer than the service accepts."),
    Failure(_C.SOURCE_TOO_LARGE, _FETCH, False, 39, 413, "The file is larger than the service accepts."),
    Failure(_C.SOURCE_TOO_SHORT, _FETCH, False, 40, 422, "The recording is too short to separate."),
    Failure(_C.SOURCE_UNDECODABLE, _FETCH, False, 41, 422, "The file holds no audio that can be decoded."),
    Failure(_C.SOURCE_ADDRESS_REFUSED, _FETCH, False, 42, 422, "The service does not download from this address."),
    Failure(_C.SOURCE_GONE, _FETCH, False, 43, 409, "The uploaded file is no longer there; upload it again."),
    Failure(_C.OBJECT_NOT_FOUND, _FETCH, False, 49, 404, "The bucket has no object with this key."),
    Failure(
        _C.SOURCE_BOT_CHECK,
        _FETCH,
        True,
        44,
        503,
        "The source asked the service to prove it is not a robot.",
        least_pause_seconds=_LOCKED_OUT,
    ),
    Failure(
        _C.SOURCE_RATE_LIMITED,
        _FETCH,
        True,
        45,
        503,
        "The source limits how often the service may download.",
        least_pause_seconds=_LOCKED_OUT,
    ),
    Failure(_C.SOURCE_FORBIDDEN, _FETCH, True, 46, 503, "The source refused the download.", most_retries=1),
    Failure(_C.SOURCE_NETWORK, _FETCH, True, 47, 503, "The source could not be reached, or the connection broke."),
    Failure(
        _C.EXTRACTOR_BROKEN,
        _FETCH,
        True,
        48,
        503,
        "The source changed and cannot be read at the moment.",
        most_retries=1,
    ),
    Failure(_C.MODEL_MISSING, _SEPARATE, False, 60, 500, "The model's weights are not installed."),
    Failure(_C.MODEL_CORRUPT, _SEPARATE, False, 61, 500, "The model's weights do not match their digest."),
    Failure(_C.DEVICE_UNAVAILABLE, _SEPARATE, True, 62, 503, "The requested GPU is unavailable."),
    Failure(_C.OUT_OF_MEMORY, _SEPARATE, True, 63, 503, "The worker ran out of memory."),
    Failure(_C.SEPARATION_INVALID, _SEPARATE, True, 64, 500, "The model produced no usable audio."),
    Failure(_C.LINK_REFUSED, _PUBLISH, False, 80, 500, "The operator refused the worker a link to the object store."),
    Failure(_C.STORE_UNREACHABLE, _PUBLISH, True, 81, 503, "The object store could not be reached or refused a file."),
    Failure(_C.ARTIFACT_MISMATCH, _PUBLISH, True, 82, 500, "A stored file differs from the file that was written."),
    Failure(_C.JOB_LOST, _CONTROL, True, 0, 500, "The worker disappeared without reporting a result."),
    Failure(_C.POD_FAILED, _CONTROL, True, 0, 500, "The worker ended without reporting a reason."),
    Failure(_C.DISRUPTED, _CONTROL, False, 0, 503, "The worker was disrupted too many times."),
    Failure(_C.EVICTED, _CONTROL, True, 0, 503, "The worker exceeded its disk limit and was evicted."),
    Failure(_C.FETCH_DEADLINE, _CONTROL, True, 0, 504, "Fetching the audio took longer than allowed."),
    Failure(_C.START_DEADLINE, _CONTROL, True, 0, 504, "The worker did not start in time."),
    Failure(_C.QUEUE_DEADLINE, _CONTROL, False, 0, 504, "The track waited in the queue for longer than allowed."),
    Failure(_C.SEPARATE_DEADLINE, _CONTROL, True, 0, 504, "Separating the audio took longer than allowed."),
    Failure(_C.CANCELLED, _CONTROL, False, 0, 409, "The separation was cancelled."),
)

FAILURES: Final = MappingProxyType({row.code: row for row in _ROWS})
"""Every failure by its code."""

_BY_EXIT_CODE: Final = MappingProxyType({row.exit_code: row for row in _ROWS if row.exit_code})


def failure_of_exit_code(exit_code: int) -> Failure:
    """Return the failure of a separator's exit code; an unknown code is `POD_FAILED`."""
    return _BY_EXIT_CODE.get(exit_code, FAILURES[FailureCode.POD_FAILED])
