"""Tells the desk how far a stage is, at most once a second and without ever holding up the work."""

import threading
from types import TracebackType
from typing import Final, Protocol, Self

from stemyard_contract.handover import Progress, WorkStage

_INTERVAL_SECONDS: Final = 1.0


class _Desk(Protocol):
    def report(self, progress: Progress) -> None: ...


class ProgressReporter:
    """Remembers the newest state; a thread of its own sends it. Used as a context manager around a stage."""

    def __init__(self, stage: WorkStage, desk: _Desk) -> None:
        self._stage = stage
        self._desk = desk
        self._state = ("", 0.0)
        self._sequence = 0
        self._changed = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._changed.set()

    def update(self, step: str, fraction: float) -> None:
        """Note that the stage is `fraction` done, 0 to 1, and busy with `step`; it never goes back."""
        state = (step, max(self._state[1], min(1.0, fraction)))
        if state != self._state:
            self._state = state
            self._changed.set()

    def _run(self) -> None:
        while self._changed.wait() and not self._over.is_set():
            self._changed.clear()
            self._send(*self._state)
            self._over.wait(_INTERVAL_SECONDS)

    def _send(self, step: str, fraction: float) -> None:
        self._desk.report(Progress(stage=self._stage, sequence=self._sequence, fraction=round(fraction, 4), step=step))
        self._sequence += 1
