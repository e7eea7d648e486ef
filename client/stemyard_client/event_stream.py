"""Parser of server-sent events (WHATWG HTML, section 9.2.6)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LONGEST_BYTES: Final = 8 << 20
"""Bytes of one event, after which the stream is not one of Stemyard's."""
_LONGEST_RETRY_SECONDS: Final = 60.0


class EventStreamError(Exception):
    """The stream is not one of server-sent events."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream."""

    name: str
    data: str


class EventStreamParser:
    """Takes the bytes of a stream as they arrive and gives its events.

    Attributes:
        last_id: id of the last event, to send as `Last-Event-ID`.
        retry_seconds: pause before the next connection, as the server asked, but at most a minute.
    """

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.retry_seconds = 3.0
        self._left = b""
        self._name, self._data = "", list[str]()
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that are complete with these bytes.

        Raises:
            EventStreamError: one event is larger than any of Stemyard's.
        """
        *lines, self._left = (self._left + chunk).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode("utf-8", "replace")
            if text:
                self._field(text)
            elif self._data:
                yield ServerEvent(self._name or "message", "\n".join(self._data))
                self._begin()
            else:
                self._name = ""
        if len(self._left) + self._data_bytes > _LONGEST_BYTES:
            raise EventStreamError

    def restart(self) -> None:
        """Forget what was begun when the connection ended; the id stays."""
        self._left = b""
        self._begin()

    def _begin(self) -> None:
        self._name, self._data, self._data_bytes = "", [], 0

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
                self._data_bytes += len(line) + 1
            case "id" if value.isascii() and value.isprintable():  # others fit in no header
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_seconds = min(float(value) / 1000, _LONGEST_RETRY_SECONDS)
            case _:
                pass  # a comment, or a field of later versions
