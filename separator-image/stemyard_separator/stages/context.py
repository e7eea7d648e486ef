"""What both stages have at hand: the Assignment, the desk, the store, a folder, and a way to tell how far they are."""

from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.handover import Assignment, Mark, MarkReference
from stemyard_separator.http import HttpClient
from stemyard_separator.settings import Settings
from stemyard_separator.transfer.object_store import LocalFile, Store
from stemyard_separator.transfer.progress import Reporter


@dataclass(frozen=True, slots=True)
class Stage:
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
    settings: Settings
    http: HttpClient
    store: Store
    reporter: Reporter
    folder: Path

    def commit(self, mark: Mark) -> MarkReference:
        """Publish the stage's commit mark; nothing may follow it."""
        path = self.folder / self.assignment.stage.mark_file
        path.write_text(mark.dump())
        return self.store.commit(LocalFile(path, "application/json"))
