"""Creates SeparationJobs again from the manifests in a bucket whose cluster was lost.

It may run beside operators, and again after it was interrupted: existing SeparationJobs are kept.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Final

from stemyard_contract.handover import Room
from stemyard_operator.clients.kubernetes import KubernetesClient, is_refusal
from stemyard_operator.clients.kubernetes_paths import separations_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.decision.commit_marks import MARK_LIMIT, file_sizes
from stemyard_operator.errors import ConflictError, KubernetesError
from stemyard_operator.maintenance.restoration import (
    expired,
    manifests_among,
    newest,
    resource_of,
    restorable,
    status_of,
)
from stemyard_operator.model.observed import FoundManifest
from stemyard_operator.model.separation import Separation, separation_of

_CONCURRENCY: Final = 8
_STATUS_ATTEMPTS: Final = 10
"""A running operator may write at the same time, twice at most for a suspended SeparationJob."""
_MERGE: Final = "application/merge-patch+json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Restores the SeparationJobs of one installation."""

    settings: Settings
    cluster: KubernetesClient
    objects: ObjectStoreClient

    async def run(self) -> Counter[str]:
        """Restore what can be; return the number of each outcome: `restored`, `present`, `expired`, `refused` etc.

        Raises:
            OperatorError: the API server or the store does not answer; run it again.
        """
        prefix = f"{self.settings.stemyard_install_id}/{Room.STEMS}/"
        keys = manifests_among(await self.objects.keys(prefix))
        limit = asyncio.Semaphore(_CONCURRENCY)
        read = await asyncio.gather(*(self._read(key, limit) for key in keys))
        found = [one for one in read if one is not None]
        outcomes = Counter({"unreadable": len(keys) - len(found)})
        last = newest(found, self.settings.stemyard_install_id)
        outcomes.update(await asyncio.gather(*(self._restore(one, limit) for one in last)))
        return outcomes

    async def _read(self, key: str, limit: asyncio.Semaphore) -> FoundManifest | None:
        async with limit:
            content = await self.objects.get(key, MARK_LIMIT)
        return (
            restorable(key, content, self.settings.stemyard_install_id, self.settings.api_namespace)
            if content
            else None
        )

    async def _restore(self, found: FoundManifest, limit: asyncio.Semaphore) -> str:
        async with limit:
            try:
                outcome = await self._restored(found)
            except KubernetesError as error:
                if not is_refusal(error):
                    raise
                log.warning("not restored: %s", error, extra={"manifest": found.reference.key})
                outcome = "refused"
        name = found.mark.request.name if found.mark.request else ""
        log.info("%s", outcome, extra={"separation": name, "manifest": found.reference.key})
        return outcome

    async def _restored(self, found: FoundManifest) -> str:
        resource = resource_of(found)
        namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
        if namespace not in self.settings.namespaces:
            return "not watched"
        if expired(found, self.cluster.clock.now()):
            return "expired"
        for key, size in file_sizes(found).items():
            if await self.objects.size(key) != size:
                return "incomplete"
        try:
            created = await self.cluster.request("POST", separations_path(namespace), body=resource)
        except ConflictError:
            created = await self.cluster.read(separations_path(namespace, name))
        separation = separation_of(created, self.settings.api_namespace)
        if not separation.spec.suspend or separation.spec.run != found.mark.run:
            return "present"
        # new, or left like this by an interrupted rebuild
        if separation.status.finished_at is None:
            separation = await self._complete(separation, found)
        await self._resume(separation)
        return "restored"

    async def _complete(self, separation: Separation, found: FoundManifest) -> Separation:
        """Write the status; on a conflict with an operator, read again and retry."""
        namespace, name = separation.namespace, separation.name
        for left in reversed(range(_STATUS_ATTEMPTS)):
            status = status_of(separation, found, self.settings.default_model)
            try:
                await self.cluster.apply_status(namespace, name, separation.resource_version, status)
                break
            except ConflictError:
                if not left:
                    raise
            resource = await self.cluster.read(separations_path(namespace, name))
            separation = separation_of(resource, self.settings.api_namespace)
        return separation

    async def _resume(self, separation: Separation) -> None:
        path = separations_path(separation.namespace, separation.name)
        await self.cluster.request("PATCH", path, body={"spec": {"suspend": False}}, content_type=_MERGE)


async def rebuild() -> Counter[str]:
    """Restore everything, with the settings of the environment.

    Raises:
        OperatorError: a setting cannot be used, or the API server or the store does not answer.
    """
    settings = load_settings()
    cluster = await KubernetesClient.connect()
    objects = ObjectStoreClient(settings)
    try:
        return await Rebuild(settings, cluster, objects).run()
    finally:
        await objects.close()
        await cluster.close()
