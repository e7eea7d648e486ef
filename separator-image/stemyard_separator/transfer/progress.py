"""Reports a stage's progress to the desk from a background thread, at most once a second."""

import threading
from types import TracebackType
from typing import Final, Self

from stemyard_contract.handover import Progress, WorkStage
from stemyard_separator.transfer.desk import DeskClient

_INTERVAL_SECONDS: Final = 1.0


class ProgressReporter:
    """Context manager around a stage; its thread sends the latest state, so reporting never blocks the stage."""

    def __init__(self, stage: WorkStage, desk: DeskClient) -> None:
        self._stage = stage
        self._desk = desk
        self._state = ("", 0.0)
        self._sequence = 0
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._changed.set()

    def update(self, step: str, fraction: float) -> None:
        """Set the current step and the stage's progress, 0 to 1; progress never decreases."""
        state = (step, max(self._state[1], min(1.0, fraction)))
        if state != self._state:
            self._state = state
            self._changed.set()

    def _run(self) -> None:
        while self._changed.wait() and not self._stopped.is_set():
            self._changed.clear()
            self._send(*self._state)
            self._stopped.wait(_INTERVAL_SECONDS)

    def _send(self, step: str, fraction: float) -> None:
        self._desk.report(Progress(stage=self._stage, sequence=self._sequence, fraction=round(fraction, 4), step=step))
        self._sequence += 1
