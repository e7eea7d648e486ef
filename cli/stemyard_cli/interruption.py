"""Ctrl-C before a command has begun."""

import os
import signal
import sys
from types import FrameType
from typing import Final

EXIT_CODE: Final = 128 + signal.SIGINT


def leave_at_once() -> None:
    """Let Ctrl-C end the process while modules are imported: nothing has begun, and an import would fail instead."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, for a command that has something to tidy up or to say."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\n")
    os._exit(EXIT_CODE)
