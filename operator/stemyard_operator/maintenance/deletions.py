"""Objects of deleted SeparationJobs: removed at once, and again when the last link to write them has expired."""

import logging
from dataclasses import dataclass
from typing import Final

from stemyard_operator.clients.s3 import LINK_SECONDS, ObjectStoreClient
from stemyard_operator.workqueue import WorkQueue

_MARGIN_SECONDS: Final = 30
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What one deleted SeparationJob named, and whether this is the second time."""

    uid: str
    targets: tuple[str, ...]
    again: bool = False


class Deletions:
    """Only exactly named prefixes go, never a whole track. What a crash forgets here is an orphan for the sweep."""

    def __init__(self, objects: ObjectStoreClient) -> None:
        self._objects = objects
        self.queue: WorkQueue[Deletion] = WorkQueue()
        self.active = False
        """Whether this replica leads; others leave removals to the leader."""

    def deleted(self, uid: str, targets: tuple[str, ...]) -> None:
        """Take note of a deleted SeparationJob."""
        if targets and self.active:
            self.queue.add(Deletion(uid, targets))
            self.queue.add(Deletion(uid, targets, again=True), LINK_SECONDS + _MARGIN_SECONDS)

    async def remove(self, removal: Deletion) -> float | None:
        """Remove the objects; StoreError means try again later."""
        for target in removal.targets:
            await self._objects.remove(target)
        log.info("removed objects of a deleted separation", extra={"uid": removal.uid, "again": removal.again})
        return None
