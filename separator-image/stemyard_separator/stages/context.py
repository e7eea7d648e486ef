"""What both stages have at hand: the Assignment, the desk, the store, a folder, and a way to tell how far they are."""

from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.handover import Assignment, Mark, MarkReference
from stemyard_separator.http import HttpClient
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.transfer.object_store import LocalFile, ObjectStore
from stemyard_separator.transfer.progress import ProgressReporter


@dataclass(frozen=True, slots=True)
class StageContext:
    """One run of one stage.

    Attributes:
        assignment: what to do.
        settings: of this process.
        http: for whatever has to be reached.
        store: where files come from and go to.
        reporter: told about progress.
        folder: empty and writable; gone afterwards.
    """

    assignment: Assignment
    settings: SeparatorSettings
    http: HttpClient
    store: ObjectStore
    reporter: ProgressReporter
    folder: Path

    def commit(self, mark: Mark) -> MarkReference:
        """Publish the stage's commit mark; nothing may follow it."""
        path = self.folder / self.assignment.stage.mark_file
        path.write_text(mark.dump())
        return self.store.commit(LocalFile(path, "application/json"))
