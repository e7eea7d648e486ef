"""Reports a stage's progress to the desk from a background thread, at most once a second."""

import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

from stemyard_contract.handover import Progress, WorkStage
from stemyard_separator.transfer.desk import DeskClient

_INTERVAL_SECONDS: Final = 1.0


class _State(NamedTuple):
    """What is reported; immutable, since the thread reads it while the stage goes on."""

    step: str
    fraction: float
    step_fraction: float
    """Fraction when the step was first updated."""
    step_began: float
    """Monotonic time of that."""
    at: float
    """Monotonic time of this state."""


class ProgressReporter:
    """Context manager around a stage; its thread sends the latest state, so reporting never blocks the stage.

    With `heartbeat_seconds` the state is sent again after so long without a change, to learn whether it is wanted.
    """

    def __init__(self, stage: WorkStage, desk: DeskClient, heartbeat_seconds: float | None = None) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._stage = stage
        self._desk = desk
        self._state = _State("", 0.0, 0.0, 0.0, 0.0)
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
        """Set the current step and the stage's progress, 0 to 1; progress never decreases.

        Raises:
            LeaseLostError: the desk has said that the song is not held any more.
        """
        self._desk.check_held()
        before, now = self._state, time.monotonic()
        fraction = max(before.fraction, min(1.0, fraction))
        if (step, fraction) == (before.step, before.fraction):
            return
        same_step = step == before.step
        began = (before.step_fraction, before.step_began) if same_step else (fraction, now)
        self._state = _State(step, fraction, *began, now)
        self._changed.set()

    def _run(self) -> None:
        while (self._changed.wait(self._heartbeat_seconds) or self._state.step) and not self._stopped.is_set():
            self._changed.clear()
            self._send(self._state)
            self._stopped.wait(_INTERVAL_SECONDS)

    def _send(self, state: _State) -> None:
        progress = Progress(
            stage=self._stage,
            sequence=self._sequence,
            fraction=round(state.fraction, 4),
            step=state.step,
            step_fraction=round(state.step_fraction, 4),
            step_seconds=round(state.at - state.step_began, 3),
        )
        self._desk.report(progress)
        self._sequence += 1
