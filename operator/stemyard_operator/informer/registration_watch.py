"""Watches the webhooks that API keys have registered, in the API's namespace."""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from pydantic import ValidationError

from stemyard_contract.key_webhooks import KeyWebhooksSpec, key_webhooks_of, resource_name
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import Json, KubernetesClient
from stemyard_operator.clients.kubernetes_paths import key_webhooks_path
from stemyard_operator.errors import KubernetesError, NotFoundError
from stemyard_operator.model.registrations import NO_REGISTRATIONS, Registrations

_EXPIRED: Final = 410
_REFUSALS: Final = frozenset({403, 404})
"""Neither the right nor the kind is there: no webhook can be registered, or none can be read."""
_PAUSE_BASE: Final = 0.1
_PAUSE_MAX: Final = 30.0

log = logging.getLogger(__name__)


class RegistrationCache:
    """What is known of registered webhooks; an older version of a resource never replaces a newer one."""

    def __init__(self) -> None:
        self._specs: dict[str, KeyWebhooksSpec] = {}
        self._versions: dict[str, int] = {}
        """By name, the version that was seen last, deletions included."""
        self.known: Registrations = NO_REGISTRATIONS

    def put(self, resource: Json) -> None:
        """Store a resource; one that cannot be read counts as none."""
        name = resource["metadata"]["name"]
        if not self._advance(name, int(resource["metadata"]["resourceVersion"])):
            return
        try:
            spec = key_webhooks_of(resource)
        except ValidationError as error:
            log.error("registered webhooks cannot be read: %s", error.errors()[0]["loc"], extra={"key": name})  # noqa: TRY400 - the place is enough
            spec = None
        self._set(name, spec)

    def remove(self, name: str, version: int) -> None:
        """Drop a resource that was gone at this version."""
        if self._advance(name, version):
            self._set(name, None)

    def replace(self, resources: list[Json], version: int) -> None:
        """Store a complete list, read at this version."""
        for gone in self._specs.keys() - {one["metadata"]["name"] for one in resources}:
            self.remove(gone, version)
        for one in resources:
            self.put(one)

    def _advance(self, name: str, version: int) -> bool:
        if version <= self._versions.get(name, 0):
            return False
        self._versions[name] = version
        return True

    def _set(self, name: str, spec: KeyWebhooksSpec | None) -> None:
        if spec is None:
            self._specs.pop(name, None)
        else:
            self._specs[name] = spec
        self.known = Registrations({one.key: one for one in self._specs.values()})


class RegistrationWatch:
    """Keeps the cache current; what was known stays known while the API server fails.

    `listed` is set when registrations were listed, or the API server refused that.
    """

    def __init__(self, cluster: KubernetesClient, cache: RegistrationCache, namespace: str) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespace = namespace
        self._version = ""
        self._complaint = ""
        self.listed = asyncio.Event()

    @property
    def known(self) -> Registrations:
        """What is known of registered webhooks."""
        return self._cache.known

    async def run(self) -> None:
        """List and watch forever; while the API server fails, pause longer each time, with jitter."""
        failures = 0
        while True:
            before, least = self._version, 0.0
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failures = 0
            except KubernetesError as error:
                failures = failures + 1 if self._version == before else 1
                least = error.retry_after
                self._failed(error)
            await asyncio.sleep(least + pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))

    async def refresh(self, key: str) -> None:
        """Read the webhooks of one key, which may have changed without an event yet.

        Raises:
            KubernetesError: the API server does not respond.
        """
        name = resource_name(key)
        try:
            self._cache.put(await self._cluster.read(key_webhooks_path(self._namespace, name)))
        except NotFoundError:
            return  # the watch reports a deletion
        except KubernetesError as error:
            if error.status not in _REFUSALS:
                raise

    def _failed(self, error: KubernetesError) -> None:
        if error.status == _EXPIRED:
            self._version = ""
        if error.status in _REFUSALS:
            self.listed.set()
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.warning("registered webhooks cannot be watched, trying again: %s", error)

    async def _list(self) -> None:
        pages = [page async for page in self._cluster.versioned_pages(key_webhooks_path(self._namespace))]
        version = pages[-1][1]
        self._cache.replace([one for items, _ in pages for one in items], int(version or 0))
        self._version, self._complaint = version, ""
        self.listed.set()

    async def _watch(self) -> None:
        events = self._cluster.watch(key_webhooks_path(self._namespace), "", self._version)
        async with aclosing(events):
            async for kind, version, resource in events:
                self._version = version
                if kind == "DELETED":
                    self._cache.remove(resource["metadata"]["name"], int(version))
                elif kind != "BOOKMARK":
                    self._cache.put(resource)
