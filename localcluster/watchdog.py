"""Kills processes when the parent of this one exits, which closes the other end of standard input."""

import contextlib
import os
import signal
import sys


def main(pids: list[int]) -> None:
    """Wait for the end of standard input, then kill the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while sys.stdin.buffer.read(1):
        pass
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
