"""Shows the progress of several separations: as live bars on a terminal, else as a line for each change."""

import sys
import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from stemyard_cli.output import err, say, visible
from stemyard_client import Job

_PLAIN_STEP: Final = 25
"""Percent between two plain lines of one phase."""


class Board(Protocol):
    """Where progress is shown; a context manager."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the terminal as it was found."""

    def show(self, name: str, job: Job) -> None:
        """Show the state of a separation."""

    def transfer(self, name: str, verb: str, done: int, size: int) -> None:
        """Show the progress of an upload or download in bytes."""

    def end(self, name: str, text: str) -> None:
        """Show how it ended."""

    def fail(self, name: str, text: str) -> None:
        """Show once, and in full, why it failed."""


def board(*, quiet: bool = False) -> Board:
    """Return the board for this process's stderr."""
    if quiet:
        return QuietBoard()
    return LiveBoard() if sys.stderr.isatty() else PlainBoard()


def stage_of(job: Job) -> str:
    """Return in few words where a separation is."""
    if job.phase is None:
        return job.status
    place = f", {job.queue_position}. in line" if job.queue_position else ""
    return f"{job.phase}{place}"


def remaining(job: Job, seconds_since: float = 0.0) -> str:
    """Return the estimated time that is left as minutes and seconds; empty if unknown."""
    if job.eta_seconds is None or job.ended:
        return ""
    minutes, seconds = divmod(max(0, round(job.eta_seconds - seconds_since)), 60)
    return f"{minutes}:{seconds:02} left"


class QuietBoard:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def show(self, name: str, job: Job) -> None:
        """Show nothing."""

    def transfer(self, name: str, verb: str, done: int, size: int) -> None:
        """Show nothing."""

    def end(self, name: str, text: str) -> None:
        """Show nothing."""

    def fail(self, name: str, text: str) -> None:
        """Print it."""
        say(f"{name}: {text}")


class PlainBoard(QuietBoard):
    """Prints a line for each phase, and within a phase for each quarter."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, int]] = {}

    def show(self, name: str, job: Job) -> None:
        """Print a line if the separation has come further."""
        self._line(name, stage_of(job), job.progress)

    def transfer(self, name: str, verb: str, done: int, size: int) -> None:
        """Print a line if the transfer has come further."""
        self._line(name, verb, 100 * done / max(size, 1))

    def end(self, name: str, text: str) -> None:
        """Print how it ended."""
        say(f"{name}: {text}")

    def _line(self, name: str, stage: str, percent: float) -> None:
        now = (stage, int(percent // _PLAIN_STEP))
        if self._shown.get(name) != now:
            self._shown[name] = now
            say(f"{name}: {stage} {percent:.0f} %")


class LiveBoard:
    """One bar for each separation."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[stage]}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._progress = Progress(*columns, console=err())
        self._tasks: dict[str, TaskID] = {}
        self._estimates: dict[str, tuple[int, float]] = {}
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
        for failure in self._failures:
            say(failure)

    def show(self, name: str, job: Job) -> None:
        """Draw the state of a separation. The estimate is that of the last state that had one, minus the time since."""
        now = time.monotonic()
        if job.eta_seconds is not None and self._estimates.get(name, (None, 0.0))[0] != job.eta_seconds:
            self._estimates[name] = (job.eta_seconds, now)
        since = now - self._estimates.get(name, (0, now))[1]
        self._draw(name, stage_of(job), job.progress, remaining(job, since))

    def transfer(self, name: str, verb: str, done: int, size: int) -> None:
        """Draw the progress of a transfer."""
        self._draw(name, verb, 100 * done / max(size, 1), "")

    def end(self, name: str, text: str) -> None:
        """Draw how it ended."""
        task = self._task(name)
        self._progress.update(task, stage=visible(text), left="")

    def fail(self, name: str, text: str) -> None:
        """Draw the first line, and print all below the bars once they stand still: they are cut to the terminal."""
        self.end(name, text.partition("\n")[0])
        self._failures.append(f"{name}: {text}")

    def _draw(self, name: str, stage: str, percent: float, left: str) -> None:
        self._progress.update(self._task(name), completed=percent, stage=visible(stage), left=left)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(visible(name), total=100, stage="", left="")
        return self._tasks[name]
