"""The errors of the local cluster: each says what to change and knows whether trying again can help."""


class LocalClusterError(Exception):
    """What was asked could not be done; the message is a sentence for the person at the terminal."""

    code = "LOCALCLUSTER"
    retryable = False


class MissingPrerequisiteError(LocalClusterError):
    """The machine lacks something that only its owner can give: the message names it."""

    code = "MISSING_PREREQUISITE"


class CommandFailedError(LocalClusterError):
    """A program ended with an error or ran past its time; the message carries the end of what it printed."""

    code = "COMMAND_FAILED"
    retryable = True


class NotReadyError(LocalClusterError):
    """Something was started and did not become ready in its time; the message says where its log is."""

    code = "NOT_READY"
    retryable = True


class ApiRefusedError(LocalClusterError):
    """The API server answered a request with an error status."""

    code = "API_REFUSED"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status
        self.retryable = status in {409, 429, 500, 502, 503, 504}
