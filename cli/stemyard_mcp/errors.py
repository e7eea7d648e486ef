"""What an agent is told when a tool fails: the API's sentence, its code, and whether to try again."""

from collections.abc import Iterator
from contextlib import contextmanager

from mcp.server.mcpserver.exceptions import ToolError

from stemyard_client import ApiError, AuthenticationError, ForbiddenError, StemyardError


@contextmanager
def told_to_the_agent() -> Iterator[None]:
    """Turn what is expected to go wrong into an error of the tool; anything else is one without words.

    Raises:
        ToolError: the API refused, could not be reached, or the arguments contradict each other.
    """
    try:
        yield
    except StemyardError as error:
        raise ToolError(_words(error)) from None
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        raise ToolError(f"{named}{error.strerror or type(error).__name__}") from None
    except ValueError as error:
        raise ToolError(str(error)) from None


def _words(error: StemyardError) -> str:
    parts = [f"{error} ({error.code})"]
    if isinstance(error, AuthenticationError):
        parts.append("The API key is missing, wrong or expired; only the user can set another.")
    elif isinstance(error, ForbiddenError):
        parts.append("The API key has not the scope for this; only the user can get another key.")
    elif isinstance(error, ApiError):
        parts += [f"{name}: {problem}" for name, problem in error.fields.items()]
    if isinstance(error, ApiError) and error.retry_after is not None:
        parts.append(f"Try again after {error.retry_after:.0f} seconds.")
    elif error.retryable:
        parts.append("The same call may succeed later.")
    return "\n".join(parts)
