"""What both stages work with: the Assignment, settings, object store, progress reporter and a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.handover import Assignment, Mark, MarkReference
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.timings import process_age
from stemyard_separator.transfer.object_store import LocalFile, ObjectStore
from stemyard_separator.transfer.progress import ProgressReporter


@dataclass(frozen=True, slots=True)
class StageContext:
    """One execution of one stage.

    Attributes:
        assignment: what to do.
        settings: settings of the process.
        store: the stage's files in the object store.
        reporter: reports progress to the desk.
        folder: empty scratch folder, removed afterwards.
        age: returns the seconds since the process began, or since a worker's song was leased.
    """

    assignment: Assignment
    settings: SeparatorSettings
    store: ObjectStore
    reporter: ProgressReporter
    folder: Path
    age: Callable[[], float] = process_age

    def publish(self, files: Sequence[LocalFile], mark_of: Callable[[], Mark]) -> MarkReference:
        """Upload the stage's files, and its commit mark last, as `ObjectStore.publish`."""
        return self.store.publish(files, self.folder / self.assignment.stage.mark_file, mark_of)
