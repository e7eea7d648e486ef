"""Ends given processes when the process that started this one is gone: it holds the other end of our standard input."""

import contextlib
import os
import signal
import sys


def main(pids: list[int]) -> None:
    """Wait for the end of standard input, then kill. Run as a program with the process ids as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while sys.stdin.buffer.read(1):
        pass
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
