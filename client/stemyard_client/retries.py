"""Requests that are repeated: which answers are worth it, how often, and how long the pauses are."""

import random
from dataclasses import dataclass
from typing import Final

import httpx

from stemyard_client.effects import Operation, Request, Send, Sleep
from stemyard_client.errors import ApiError, ConnectionFailedError, api_error

_FIRST_SECONDS: Final = 0.5
_REPEATED: Final = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """How requests are repeated after an error that may pass. Every request of this client may be sent twice.

    Attributes:
        attempts: number of times that a request is sent at most.
        longest_seconds: longest pause. A server that asks for more with Retry-After is not waited for: the error is
            raised at once.
    """

    attempts: int = 5
    longest_seconds: float = 60.0

    def pause(self, attempt: int, error: ApiError | None) -> float | None:
        """Return the seconds to wait after an attempt, counted from 1; None if it was the last.

        Args:
            attempt: number of the attempt that failed.
            error: what the server answered; None if the connection failed.
        """
        if attempt >= self.attempts or (error is not None and not _is_passing(error)):
            return None
        asked = error.retry_after if error is not None else None
        if asked is not None:
            return asked * random.uniform(1.0, 1.2) if asked <= self.longest_seconds else None
        doubled = _FIRST_SECONDS * 2.0 ** (attempt - 1)
        return min(doubled, self.longest_seconds) * random.uniform(0.5, 1.0)


def _is_passing(error: ApiError) -> bool:
    return error.retryable and (error.status in _REPEATED or error.retry_after is not None)


def call(request: Request, retries: Retries) -> Operation[httpx.Response]:
    """Send a request to the API until it succeeds.

    Raises:
        ApiError: it was refused.
        ConnectionFailedError: there was no answer.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            response: httpx.Response = yield Send(request)
        except httpx.TransportError as error:
            pause = retries.pause(attempt, None)
            if pause is None:
                raise unreachable(request, error) from error
        else:
            if response.is_success:
                return response
            refused = api_error(response.status_code, response.headers, response.content)
            pause = retries.pause(attempt, refused)
            if pause is None:
                raise refused
        yield Sleep(pause)


def unreachable(request: Request, error: httpx.TransportError) -> ConnectionFailedError:
    """Return the error for a request without an answer; it names no link, because links are signed."""
    place = "The API" if request.url.startswith("/") else "The object store"
    return ConnectionFailedError(f"{place} could not be reached: {str(error) or type(error).__name__}.")
