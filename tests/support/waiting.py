"""Waiting for a condition, for a bounded time."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until a condition holds, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)
