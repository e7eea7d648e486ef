"""Exit codes of the command line, and the error of each."""

from enum import IntEnum
from typing import Final

from stemyard_client import (
    AddressError,
    ApiError,
    AuthenticationError,
    ConnectionFailedError,
    ForbiddenError,
    KeyFormatError,
    NotFoundError,
    SeparationFailedError,
    ServerError,
    StemyardError,
    WaitTimeoutError,
)


class ExitCode(IntEnum):
    """What an exit code means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    KEY = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    TIMEOUT = 6
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "a separation failed, the service refused the request, or `doctor` found something wrong",
    ExitCode.USAGE: "the command line is invalid, or no installation is configured",
    ExitCode.KEY: "the API key is missing, wrong or lacks a scope",
    ExitCode.NOT_FOUND: "there is no such track for this key",
    ExitCode.UNREACHABLE: "the service could not be reached, or failed",
    ExitCode.TIMEOUT: "the separation has not ended within `--timeout`; it goes on",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}
"""For the documentation and `--help`."""

_OF_ERRORS: Final[tuple[tuple[type[StemyardError], ExitCode], ...]] = (
    (AuthenticationError, ExitCode.KEY),
    (KeyFormatError, ExitCode.KEY),
    (AddressError, ExitCode.USAGE),
    (ForbiddenError, ExitCode.KEY),
    (NotFoundError, ExitCode.NOT_FOUND),
    (ConnectionFailedError, ExitCode.UNREACHABLE),
    (ServerError, ExitCode.UNREACHABLE),
    (WaitTimeoutError, ExitCode.TIMEOUT),
)


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code for an error."""
    return next((code for kind, code in _OF_ERRORS if isinstance(error, kind)), ExitCode.FAILED)


def sentence(error: Exception) -> str:
    """Return an error as a sentence with its code, and what to do where that is known."""
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}"
    if not isinstance(error, StemyardError):
        return str(error)
    text = f"{error} ({error.code})"
    if isinstance(error, AuthenticationError):
        text += "\nStore a key with `stemyard login`, or set STEMYARD_API_KEY."
    elif isinstance(error, ConnectionFailedError):
        text += "\n`stemyard doctor` looks for the cause."
    elif isinstance(error, SeparationFailedError) and error.retryable:
        text += f"\n`stemyard retry {error.job.track_id}` runs it again."
    elif isinstance(error, ApiError) and error.request_id is not None and error.status >= 500:
        text += f"\nThe request is {error.request_id} in the API's log."
    return text
