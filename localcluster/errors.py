"""The errors of the local cluster; `retryable` says whether a retry can succeed."""


class LocalClusterError(Exception):
    """A command failed; the message is a sentence for the user."""

    code = "LOCALCLUSTER"
    retryable = False


class MissingPrerequisiteError(LocalClusterError):
    """The machine lacks a prerequisite that the user must install; the message names it."""

    code = "MISSING_PREREQUISITE"


class CommandFailedError(LocalClusterError):
    """A program failed or timed out; the message contains the end of its output."""

    code = "COMMAND_FAILED"
    retryable = True


class NotReadyError(LocalClusterError):
    """A server did not become ready in time; the message names its log."""

    code = "NOT_READY"
    retryable = True


class ApiRefusedError(LocalClusterError):
    """The API server answered with an error status."""

    code = "API_REFUSED"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status
        self.retryable = status in {409, 429, 500, 502, 503, 504}
