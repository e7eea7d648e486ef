"""What to do about each failure code, and who can: the reader's half of the failure table."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from stemyard_contract.failures import FailureCode


class Fault(StrEnum):
    """Who causes a failure, and so who can end it."""

    CALLER = "caller"
    """The client or its user: the request must change."""
    SOURCE = "source"
    """The site or server that the audio comes from."""
    DEPLOYMENT = "deployment"
    """The installation: its configuration, capacity or backends. Those who run it can end the failure."""
    STEMYARD = "Stemyard"
    """A defect of Stemyard, if it happens again."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Who causes a failure, and what to do about it.

    Attributes:
        fault: who causes it.
        action: what to do, in sentences for clients' developers and for those who run Stemyard.
    """

    fault: Fault
    action: str


_C = FailureCode
_ANOTHER: Final = "Choose another recording, or upload the file."
_LATER: Final = "Wait: it is retried after at least 15 minutes. An upload or a direct link avoids the site."

_BY_FAULT: Final = {
    Fault.CALLER: {
        _C.UNAUTHENTICATED: "Send `X-API-Key`. Keys are made with `stemyard-api keys new`.",
        _C.FORBIDDEN: "Use a key with the scope that the endpoint requires.",
        _C.RATE_LIMITED: "Wait for the seconds in `Retry-After`; spread the requests over time.",
        _C.QUOTA_EXCEEDED: "Wait for the seconds in `Retry-After`, or until the key's separations have ended.",
        _C.IDEMPOTENCY_MISMATCH: "Use a new `Idempotency-Key` for each request; reuse one only to repeat a request.",
        _C.INVALID_REQUEST: "Correct the fields that `errors` names.",
        _C.TRACK_NOT_FOUND: "Check the id; the track may be deleted, or belong to another key. Submit it again.",
        _C.SHARE_ENDED: "Ask the person who shared the result for a new link.",
        _C.TRACK_NOT_COMPLETED: "Wait until the track is Completed, or run it again if it has failed.",
        _C.NOT_FOUND: "Correct the path; `/openapi.json` lists all.",
        _C.METHOD_NOT_ALLOWED: "Use a method that the header `Allow` names.",
        _C.MODEL_NOT_ENABLED: "Request a model that `GET /capabilities` lists, or `auto`.",
        _C.SOURCE_DISABLED: "Use a kind of source that `GET /capabilities` lists.",
        _C.REQUEST_TOO_LARGE: "Send a smaller body or file; `GET /capabilities` has the limit of uploads.",
        _C.HEADERS_TOO_LARGE: "Send fewer or shorter headers, usually cookies.",
        _C.UNSUPPORTED_ENCODING: "Send the body uncompressed.",
        _C.REQUEST_TIMEOUT: "Send the request again, without pauses in its headers or body.",
        _C.UPLOAD_MISSING: "PUT the file to the upload's URL, then submit again.",
        _C.UPLOAD_NOT_FOUND: "Create an upload with the same key (`POST /uploads`).",
        _C.CLAIMS_FULL: "Submit it with other settings, or wait until another key withdraws its request.",
        _C.WEBHOOK_EXISTS: "Change the webhook that the message names (`PATCH /webhooks/{id}`), or delete it first.",
        _C.WEBHOOK_LIMIT: "Delete a webhook that is no longer used (`DELETE /webhooks/{id}`).",
        _C.NAME_CONFLICT: "Delete the SeparationJob of this name that was not created by the API.",
        _C.TRACK_COMPLETED: "Submit it again with `cache: refresh`; only failed and cancelled tracks are retried.",
        _C.BEING_DELETED: "Send the request again after the seconds in `Retry-After`.",
        _C.SOURCE_NOT_FOUND: "Write artist and title exactly, or use a link.",
        _C.SOURCE_LIVE: "Submit it when the stream has ended.",
        _C.SOURCE_TOO_LONG: "Use a shorter recording; `GET /capabilities` has the limit (`limits.maxDurationSeconds`).",
        _C.SOURCE_TOO_LARGE: "Use a smaller file; `GET /capabilities` has the limit (`limits.maxFileSizeMb`).",
        _C.SOURCE_TOO_SHORT: "Use a longer recording.",
        _C.SOURCE_UNDECODABLE: "Use an audio or video file that plays; a link must lead to the file, not to a page.",
        _C.SOURCE_ADDRESS_REFUSED: "Use a public address, or upload the file.",
        _C.SOURCE_GONE: "Upload the file again and submit that upload.",
        _C.OBJECT_NOT_FOUND: "Check the key of the object, and that the prefix is enabled.",
        _C.CANCELLED: "Nothing is wrong. Retry the track to have it after all.",
    },
    Fault.SOURCE: {
        _C.SOURCE_UNAVAILABLE: _ANOTHER,
        _C.SOURCE_LOGIN_REQUIRED: _ANOTHER,
        _C.SOURCE_AGE_RESTRICTED: _ANOTHER,
        _C.SOURCE_GEO_BLOCKED: _ANOTHER,
        _C.SOURCE_DRM: _ANOTHER,
        _C.SOURCE_BOT_CHECK: _LATER,
        _C.SOURCE_RATE_LIMITED: _LATER,
        _C.SOURCE_FORBIDDEN: "Wait: it is retried once. Then choose another recording, or upload the file.",
        _C.SOURCE_NETWORK: "Wait: it is retried. If it fails for every host, check the pods' egress and DNS.",
        _C.EXTRACTOR_BROKEN: "Update the separator image, which contains yt-dlp; uploads and direct links still work.",
    },
    Fault.DEPLOYMENT: {
        _C.UNAVAILABLE: "Send the request again after `Retry-After`. The API's log and metrics name the backend.",
        _C.NOT_CONFIGURED: "The message names what the installation lacks, which is optional: set it, or do without.",
        _C.INTERNAL_IO: "It is retried. If it persists, check the nodes' disks and the pod's ephemeral storage.",
        _C.INTERNAL_CONFIG: "Read the message and the pod's log; correct the settings.",
        _C.DESK_UNREACHABLE: "It is retried. Check NetworkPolicies, DNS and that an operator is ready.",
        _C.MODEL_MISSING: "Install the weights: `stemyard-models prefetch MODEL`, or an image that contains them.",
        _C.MODEL_CORRUPT: "`stemyard-models verify` names the file; fetch it again.",
        _C.DEVICE_UNAVAILABLE: "It is retried. Check the GPU of the node, its driver and the profile's `device`.",
        _C.OUT_OF_MEMORY: "It is retried with more memory. Raise the profile's `maxMemory`.",
        _C.STORE_UNREACHABLE: "It is retried. Check the store's endpoint, its credentials and the pods' egress.",
        _C.JOB_LOST: "It is retried. The API server's audit log says who deleted the Job; only the operator should.",
        _C.DISRUPTED: "Retry it. Twenty attempts were disrupted: check drains, priorities and the way to the operator.",
        _C.EVICTED: "It is retried with more disk. Raise the profile's `maxEphemeralStorage`.",
        _C.FETCH_DEADLINE: "It is retried. Raise `spec.deadlines.fetch`, or check the pods' egress.",
        _C.START_DEADLINE: "It is retried. The condition names what prevents the pod: image, node, quota.",
        _C.QUEUE_DEADLINE: "Retry it when fewer wait. Add capacity, or raise `spec.deadlines.queue`.",
        _C.SEPARATE_DEADLINE: "It is retried. Raise `spec.deadlines.separate`, or give the profile more CPU.",
    },
    Fault.STEMYARD: {
        _C.INTERNAL: "Send the request again. If it persists, report it with the log lines of its `request_id`.",
        _C.SEPARATION_INVALID: "It is retried. If it persists, report it with the track and the model.",
        _C.LINK_REFUSED: "Report it with the operator's log lines of the track.",
        _C.ARTIFACT_MISMATCH: "It is retried. If it persists, check the store and proxies before it, then report it.",
        _C.POD_FAILED: "It is retried. `kubectl logs` of `status.pod` has the reason.",
    },
}

REMEDIES: Final = MappingProxyType(
    {code: Remedy(fault, action) for fault, actions in _BY_FAULT.items() for code, action in actions.items()}
)
"""The remedy of every failure by its code."""
