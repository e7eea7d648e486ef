"""Every way the operator's work can go wrong; each error says whether trying again can help, and its code."""

from typing import ClassVar

from stemyard_contract.failures import FailureCode


class OperatorError(Exception):
    """Base of all errors of the operator.

    Attributes:
        code: stable code of the failure table.
        retryable: whether the same call may succeed later.
    """

    code: ClassVar[FailureCode] = FailureCode.INTERNAL
    retryable: ClassVar[bool] = True


class ConfigurationError(OperatorError):
    """A setting or file of the deployment cannot be used; the message names it."""

    code = FailureCode.INTERNAL_CONFIG
    retryable = False


class KubernetesError(OperatorError):
    """The API server gave an answer that is not success.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        reason: the API server's own word, such as `AlreadyExists`.
    """

    code = FailureCode.UNAVAILABLE

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


class NotFoundError(KubernetesError):
    """The object is not there (404)."""


class ConflictError(KubernetesError):
    """The object has changed or already exists (409)."""


class OutdatedCrdError(KubernetesError):
    """The cluster's definition of SeparationJobs is older than this operator, and lacks a field of the status."""

    code = FailureCode.INTERNAL_CONFIG

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(
            status,
            reason,
            "the cluster's definition of SeparationJobs is older than this operator, so the status cannot be written; "
            f"apply the chart's definition, or set crds.enabled=true ({message})",
        )


class NotLeadingError(OperatorError):
    """This replica does not hold the lease for long enough to write safely."""

    code = FailureCode.UNAVAILABLE


class LeaseLostError(OperatorError):
    """The lease was held and could not be renewed in time; the process has to end."""

    code = FailureCode.UNAVAILABLE


class ObjectStoreError(OperatorError):
    """The object store did not answer, or refused."""

    code = FailureCode.STORE_UNREACHABLE


class ObjectStoreUnsupportedError(ObjectStoreError):
    """The object store does not know what it was asked for."""

    retryable = False


class ObjectStoreRefusedError(ObjectStoreError):
    """The object store refuses us for good: wrong bucket, credentials or region; the message names the setting."""

    code = FailureCode.INTERNAL_CONFIG
    retryable = False


class MirrorError(OperatorError):
    """Redis did not answer, or refused."""

    code = FailureCode.UNAVAILABLE


class DeskError(OperatorError):
    """A separator's request is turned down; `status` and `code` go into the answer."""

    def __init__(self, status: int, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.answer_code = code
