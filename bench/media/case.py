"""One input file and what is expected of it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A file, made when it is needed.

    Attributes:
        name: file name; surrogate escapes are bytes that are not UTF-8.
        make: returns the content.
        expected: `ok` or a failure code.
        reason: why its length or samples may differ from FFmpeg's.
    """

    name: str
    make: Callable[[], bytes]
    expected: str = "ok"
    reason: str = ""
