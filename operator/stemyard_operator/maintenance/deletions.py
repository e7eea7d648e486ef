"""Removes the objects of deleted SeparationJobs: immediately, and again when the last link to write them expired."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from stemyard_operator.clients.s3 import DESK_LINK_SECONDS, ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.artifacts import objects_of
from stemyard_operator.informer.upload_index import UploadIndex
from stemyard_operator.model.separation import Resource, separation_of
from stemyard_operator.workqueue import WorkQueue

_MARGIN_SECONDS: Final = 30
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deletion:
    """Objects that one SeparationJob named and no longer needs, and whether this is the second pass."""

    uid: str
    targets: tuple[str, ...]
    again: bool = False


class Deletions:
    """Removes exactly the named prefixes, never a whole track. What a crash loses here is an orphan for the sweep.

    An upload that another SeparationJob needs is left to that one. Deletions are queued only while this replica leads
    (`lease_held`).
    """

    def __init__(
        self, objects: ObjectStoreClient, settings: Settings, uploads: UploadIndex, lease_held: Callable[[], bool]
    ) -> None:
        self._objects = objects
        self._install_id = settings.stemyard_install_id
        self._api_namespace = settings.api_namespace
        self._uploads = uploads
        self._lease_held = lease_held
        self.queue: WorkQueue[Deletion] = WorkQueue(lease_held)

    def deleted(self, last: Resource) -> None:
        """Queue the removal of the objects that a deleted SeparationJob named; one of unknown schema is skipped."""
        if not self._lease_held():
            return
        try:
            separation = separation_of(last, self._api_namespace)
        except ValidationError:
            return
        uid, upload = separation.uid, separation.upload
        if upload is not None and self._uploads.in_use(upload, uid):
            upload = None
        targets = objects_of(separation.status, upload, self._install_id)
        if targets:
            self.queue.add(Deletion(uid, targets))
            self.queue.add(Deletion(uid, targets, again=True), DESK_LINK_SECONDS + _MARGIN_SECONDS)

    def remove_later(self, uid: str, targets: tuple[str, ...]) -> None:
        """Queue the removal of objects that a separation no longer needs."""
        self.queue.add(Deletion(uid, targets))

    async def remove(self, deletion: Deletion) -> None:
        """Remove the objects.

        Raises:
            ObjectStoreError: the store failed; the work queue retries.
        """
        for target in deletion.targets:
            await self._objects.remove(target)
        log.info("removed objects of a separation", extra={"uid": deletion.uid, "again": deletion.again})
