"""Errors of the operator; each has a code, and says whether a retry may succeed."""

from typing import ClassVar

from stemyard_contract.failures import FailureCode


class OperatorError(Exception):
    """Base of all errors of the operator.

    Attributes:
        code: stable code of the failure table.
        retryable: whether the same call may succeed later.
        retry_after: seconds that the server asks to wait before the next call.
    """

    code: ClassVar[FailureCode] = FailureCode.INTERNAL
    retryable: ClassVar[bool] = True
    retry_after: float = 0


class ConfigurationError(OperatorError):
    """A setting or file of the deployment cannot be used; the message names it."""

    code = FailureCode.INTERNAL_CONFIG
    retryable = False


class KubernetesError(OperatorError):
    """The API server responded with an error, or not at all.

    Attributes:
        status: HTTP status, 0 if there was no response.
        reason: the API server's reason, such as `AlreadyExists`.
    """

    code = FailureCode.UNAVAILABLE

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NotServedError(OperatorError):
    """The API server does not know the kind SeparationJob."""

    code = FailureCode.UNAVAILABLE


class JobRefusedError(OperatorError):
    """The API server refuses to create a Job: validation, a quota, or an admission policy or webhook."""

    code = FailureCode.UNAVAILABLE


class NotFoundError(KubernetesError):
    """The API server says that the object does not exist (404)."""


class ConflictError(KubernetesError):
    """The object has changed or already exists (409)."""


class OutdatedCrdError(KubernetesError):
    """The cluster's CRD is older than this operator: it lacks a field of the status."""

    code = FailureCode.INTERNAL_CONFIG

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0) -> None:
        super().__init__(
            status,
            reason,
            "the cluster's CRD of SeparationJobs is older than this operator, so the status cannot be written; "
            f"apply the chart's CRDs, or set crds.enabled=true ({message})",
            retry_after,
        )


class NotLeadingError(OperatorError):
    """This replica does not hold the lease for long enough to write safely."""

    code = FailureCode.UNAVAILABLE


class LeaseLostError(OperatorError):
    """The lease could not be renewed in time; the process must end."""

    code = FailureCode.UNAVAILABLE


class ObjectStoreError(OperatorError):
    """The object store did not respond, or refused the request."""

    code = FailureCode.STORE_UNREACHABLE


class ObjectStoreUnsupportedError(ObjectStoreError):
    """The object store does not implement the request."""

    retryable = False


class ObjectStoreRefusedError(ObjectStoreError):
    """The object store refuses all requests: wrong bucket, credentials or region; the message names the setting."""

    code = FailureCode.INTERNAL_CONFIG
    retryable = False


class MirrorError(OperatorError):
    """Redis did not respond, or refused the command."""

    code = FailureCode.UNAVAILABLE


class DeskError(OperatorError):
    """A separator's request is refused; `status`, `response_code` and `retry_after` go into the response."""

    def __init__(self, status: int, code: FailureCode, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.response_code = code
        self.retry_after = retry_after
