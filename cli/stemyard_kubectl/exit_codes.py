"""Exit codes of `kubectl stemyard`: those of `stemyard`, with what they mean for a cluster."""

from typing import Final

from stemyard_cli.exit_codes import ExitCode
from stemyard_cli.exit_codes import exit_code as code_of_client_error
from stemyard_kubectl.errors import (
    ClusterError,
    ForbiddenError,
    KubeconfigError,
    MissingError,
    UnauthenticatedError,
    UnreachableError,
    WaitTimeoutError,
)

MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "a separation failed or was cancelled, or it or the API server does not allow the command",
    ExitCode.USAGE: "the command line is invalid, or there is no usable kubeconfig",
    ExitCode.KEY: "the API server does not know you, or your rights do not allow it; for `play` also the API key",
    ExitCode.NOT_FOUND: "there is no such SeparationJob, or the cluster has no CRD",
    ExitCode.UNREACHABLE: "the API server could not be reached, or failed",
    ExitCode.TIMEOUT: "the separation has not ended within `--timeout`; it goes on",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C; separations go on",
}
"""For the documentation and `--help`."""

_OF_ERRORS: Final[tuple[tuple[type[ClusterError], ExitCode], ...]] = (
    (KubeconfigError, ExitCode.USAGE),
    (UnauthenticatedError, ExitCode.KEY),
    (ForbiddenError, ExitCode.KEY),
    (MissingError, ExitCode.NOT_FOUND),
    (UnreachableError, ExitCode.UNREACHABLE),
    (WaitTimeoutError, ExitCode.TIMEOUT),
)


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code for an error."""
    if not isinstance(error, ClusterError):
        return code_of_client_error(error)
    return next((code for kind, code in _OF_ERRORS if isinstance(error, kind)), ExitCode.FAILED)
