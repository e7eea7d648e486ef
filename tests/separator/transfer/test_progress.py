"""Reports of progress say when and where the current step began."""

import time
from collections.abc import Callable

import pytest

from stemyard_contract.handover import Progress, WorkStage
from stemyard_separator.transfer import progress as reporting
from stemyard_separator.transfer.progress import ProgressReporter


class Desk:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.received: list[Progress] = []

    def check_held(self) -> None:
        """The song is not leased."""

    def report(self, progress: Progress) -> None:
        self.received.append(progress)

    def heard(self, holds: Callable[[Progress], bool]) -> Progress:
        """Return the last report once one holds."""
        deadline = time.monotonic() + 10
        while not (self.received and holds(self.received[-1])):
            assert time.monotonic() < deadline, self.received
            time.sleep(0.005)
        return self.received[-1]


def test_a_step_is_timed_from_its_first_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_INTERVAL_SECONDS", 0.01)
    desk = Desk()
    with ProgressReporter(WorkStage.SEPARATE, desk) as reporter:  # type: ignore[arg-type]
        reporter.update("load", 0.02)
        loading = desk.heard(lambda received: received.step == "load")
        assert (loading.step_fraction, loading.step_seconds) == (0.02, 0.0)
        time.sleep(0.05)
        reporter.update("separate", 0.1)
        assert desk.heard(lambda received: received.step == "separate").step_seconds == 0.0
        began = time.monotonic()
        time.sleep(0.2)
        reporter.update("separate", 0.4)
        expected = time.monotonic() - began
        time.sleep(0.1)  # the time of the update counts, not that of the report
        last = desk.heard(lambda received: received.fraction == 0.4)
        assert last.step_fraction == 0.1
        assert last.step_seconds == pytest.approx(expected, abs=0.09)
        reporter.update("separate", 0.3)
        reporter.update("upload", 0.2)
        assert desk.heard(lambda received: received.step == "upload").step_fraction == 0.4, "progress never decreases"
