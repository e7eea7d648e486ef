"""What happens on SIGTERM: everything stops at once, and whatever is not committed stays uncommitted."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from types import FrameType
from typing import Final

TERMINATED_EXIT_CODE: Final = 128 + signal.SIGTERM
_processes: Final[set[int]] = set()


def stop_on_sigterm() -> None:
    """End this process with code 143 when it is told to; no cleaning up could be better than being gone."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for group in _processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    os._exit(TERMINATED_EXIT_CODE)


@contextlib.contextmanager
def owned_process(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process group with the block or with this process, whichever is first."""
    _processes.add(process.pid)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _processes.discard(process.pid)
