"""Removes the objects of deleted SeparationJobs: immediately, and again when the last link to write them expired."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from stemyard_contract.separationjob import SeparationJobSpec, SeparationJobStatus
from stemyard_operator.clients.s3 import LINK_SECONDS, ObjectStoreClient
from stemyard_operator.decision.artifacts import objects_of
from stemyard_operator.model.separation import Resource
from stemyard_operator.workqueue import WorkQueue

_MARGIN_SECONDS: Final = 30
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deletion:
    """The objects that one deleted SeparationJob named, and whether this is the second pass."""

    uid: str
    targets: tuple[str, ...]
    again: bool = False


class Deletions:
    """Removes exactly the named prefixes, never a whole track. What a crash loses here is an orphan for the sweep.

    Deletions are queued only while this replica leads (`lease_held`).
    """

    def __init__(self, objects: ObjectStoreClient, install_id: str, lease_held: Callable[[], bool]) -> None:
        self._objects = objects
        self._install_id = install_id
        self._lease_held = lease_held
        self.queue: WorkQueue[Deletion] = WorkQueue()

    def deleted(self, last: Resource) -> None:
        """Queue the removal of the objects that a deleted SeparationJob named; one of unknown schema is skipped."""
        if not self._lease_held():
            return
        try:
            spec = SeparationJobSpec.model_validate(last["spec"])
            status = SeparationJobStatus.model_validate(last.get("status") or {})
        except ValidationError:
            return
        uid, targets = last["metadata"]["uid"], objects_of(spec, status, self._install_id)
        if targets:
            self.queue.add(Deletion(uid, targets))
            self.queue.add(Deletion(uid, targets, again=True), LINK_SECONDS + _MARGIN_SECONDS)

    async def remove(self, deletion: Deletion) -> None:
        """Remove the objects.

        Raises:
            ObjectStoreError: the store failed; the work queue retries.
        """
        for target in deletion.targets:
            await self._objects.remove(target)
        log.info("removed objects of a deleted separation", extra={"uid": deletion.uid, "again": deletion.again})
