"""What operations ask their driver to do. An operation is written once, as a generator, and driven by either client."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. A path goes to the API with the key; a complete URL goes to the object store, without it."""

    method: str
    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    read_seconds: float | None = None
    """How long a read may take; by default as the client is set."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the result is the `httpx.Response`, read completely. Raises `httpx.TransportError`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; the result is the `httpx.Response`, not read yet.

    The driver closes it when the operation ends or opens another.
    """

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read what has arrived of an opened response; the result is bytes, empty at its end."""

    response: httpx.Response


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Call a function that reads or writes files or computes for long; the asynchronous driver uses a thread."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand a value to whoever iterates over the operation."""

    value: Any


Effect = Send | Open | Read | Sleep | Work | Emit
Operation = Generator[Effect, Any, T]
"""A generator that yields effects, is sent their results, and returns a value."""


def work(function: Callable[[], T]) -> Operation[T]:
    """Call a function as `Work` does, with its type kept."""
    result: T = yield Work(function)
    return result
