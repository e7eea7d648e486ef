"""What both stages work with: the Assignment, settings, HTTP client, object store, progress reporter and a folder."""

from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.handover import Assignment, Mark, MarkReference
from stemyard_separator.http import HttpClient
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.transfer.object_store import LocalFile, ObjectStore
from stemyard_separator.transfer.progress import ProgressReporter


@dataclass(frozen=True, slots=True)
class StageContext:
    """One execution of one stage.

    Attributes:
        assignment: what to do.
        settings: settings of the process.
        http: client for direct links.
        store: the stage's files in the object store.
        reporter: reports progress to the desk.
        folder: empty scratch folder, removed afterwards.
    """

    assignment: Assignment
    settings: SeparatorSettings
    http: HttpClient
    store: ObjectStore
    reporter: ProgressReporter
    folder: Path

    def commit(self, mark: Mark) -> MarkReference:
        """Upload the stage's commit mark, the last file of a stage."""
        path = self.folder / self.assignment.stage.mark_file
        path.write_text(mark.dump())
        return self.store.commit(LocalFile(path, "application/json"))
