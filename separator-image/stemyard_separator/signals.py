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
        end_group(group)
    os._exit(TERMINATED_EXIT_CODE)


def end_group(group: int) -> None:
    """Kill all processes of a group that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def owned_process(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process group with the block or with this process, whichever is first."""
    _processes.add(process.pid)
    try:
        yield
    finally:
        end_group(process.pid)
        process.wait()
        _processes.discard(process.pid)
