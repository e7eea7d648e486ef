"""How long a stage waits for the desk and the object store: until shortly before the kubelet ends its pod."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self, TypeVar

from stemyard_separator.http import HttpError, backoff
from stemyard_separator.logs import log

_T = TypeVar("_T")
_LONGEST_PAUSE: Final = 15.0
_MARGIN_SECONDS: Final = 15.0
"""Before the pod's deadline, so that the stage ends with an Outcome; a tenth of deadlines under 150 seconds."""


class StageDeadline:
    """The moment after which a stage waits no longer, on the monotonic clock."""

    def __init__(self, at: float) -> None:
        self._at = at

    @classmethod
    def of_pod(cls, seconds: float, token_path: Path) -> Self:
        """Return the deadline of this pod, which may run for `seconds` from its start, image pull included."""
        margin = min(_MARGIN_SECONDS, seconds / 10)
        return cls(time.monotonic() + seconds - _pod_age(token_path) - margin)

    def retry(self, name: str, call: Callable[[], _T]) -> _T:
        """Return `call()`; retry on `HttpError` with growing, jittered pauses, and re-raise the last at the deadline.

        Args:
            name: what is waited for, in the log.
            call: what to do.
        """
        failures = 0
        while True:
            try:
                return call()
            except HttpError as error:
                left = self._at - time.monotonic()
                if left <= 0:
                    raise
                if failures == 0:
                    log(f"waiting for {name}", reason=str(error), seconds_left=round(left))
            time.sleep(min(left, backoff(failures, longest=_LONGEST_PAUSE)))
            failures += 1


def _pod_age(token_path: Path) -> float:
    """Return the seconds since the kubelet mounted the token, 0 if there is none.

    It does so at the start of the pod, before it pulls images, and only replaces what this link leads to later.
    """
    try:
        return max(0.0, time.time() - token_path.lstat().st_mtime)
    except OSError:
        return 0.0
