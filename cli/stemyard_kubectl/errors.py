"""What can go wrong with the cluster, as one tree; each error has a stable code and says whether a retry may help."""


class ClusterError(Exception):
    """Base of all errors of the cluster; the message is for people.

    Attributes:
        code: stable code.
        retryable: whether the same command may succeed later.
    """

    code = "cluster_error"
    retryable = False


class KubeconfigError(ClusterError):
    """There is no usable kubeconfig, or not the named context."""

    code = "kubeconfig"


class UnreachableError(ClusterError):
    """The API server cannot be reached, or failed."""

    code = "unreachable"
    retryable = True


class UnauthenticatedError(ClusterError):
    """The API server does not know the user."""

    code = "unauthenticated"


class ForbiddenError(ClusterError):
    """The user's rights (RBAC), or an admission policy, do not allow this."""

    code = "forbidden"


class MissingError(ClusterError):
    """There is no such object."""

    code = "not_found"


class NoDefinitionError(MissingError):
    """The cluster has no SeparationJobs: the CRD is not installed."""

    code = "not_installed"


class ConflictError(ClusterError):
    """Somebody else changed the object meanwhile."""

    code = "conflict"
    retryable = True


class InvalidError(ClusterError):
    """The API server refuses what was sent."""

    code = "invalid"


class WaitTimeoutError(ClusterError):
    """The separation has not ended in time; it goes on."""

    code = "wait_timeout"
    retryable = True


class NotPossibleError(ClusterError):
    """The state of the separation does not allow this."""

    code = "not_possible"
