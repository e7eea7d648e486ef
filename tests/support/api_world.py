"""Two real API processes over a real API server, Valkey and S3 store; tests act as the operator."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis

from localcluster.control_plane import ControlPlane
from stemyard_contract.mirror import ProgressRecord, record_of
from stemyard_contract.mirror_keys import MirrorKeys
from tests.api import tracks
from tests.support.servers import Api, ObjectStore, Server, api_process, object_store, valkey
from tests.support.waiting import eventually as eventually

INSTALL = "test"
MASTER_SECRET = "a master secret that only API and operator hold"
ACCOUNT = "stemyard-api"
TENANT_NAMESPACE = "elsewhere"
"""A namespace that the API does not reach and the key `tenant` names."""
VERBS = ["get", "list", "create", "patch", "delete"]
"""Everything the API may do in the cluster, on SeparationJobs and KeyWebhooks of one namespace."""
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


@dataclass(frozen=True)
class World:
    """API processes, API server, Valkey and S3 store, and the actions of tests."""

    plane: ControlPlane
    namespace: str
    valkey: Server
    store: ObjectStore
    apis: tuple[Api, Api]

    @property
    def keys(self) -> MirrorKeys:
        return MirrorKeys(INSTALL)

    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.valkey.port)

    def path(self, name: str = "") -> str:
        collection = f"/apis/stemyard.dev/v1alpha1/namespaces/{self.namespace}/separationjobs"
        return f"{collection}/{name}" if name else collection

    def resource(self, track: str) -> dict[str, Any]:
        return self.plane.api.get(self.path(f"sep-{track}"))

    def report(self, track: str, status: dict[str, Any], *, mirrored: bool = True) -> dict[str, Any]:
        """Write a status and mirror the resource, as the operator does."""
        resource = self.plane.api.merge(f"{self.path(f'sep-{track}')}/status", {"status": status})
        if mirrored:
            self.mirror(resource)
        return resource

    def mirror(self, resource: dict[str, Any]) -> None:
        record = record_of(resource)
        with contextlib.closing(self.redis()) as client:
            client.set(self.keys.record(record.track_id), record.dump())
            client.zadd(self.keys.tracks, {record.track_id: record.created})

    def mirror_progress(self, track: str, progress: ProgressRecord) -> None:
        with contextlib.closing(self.redis()) as client:
            client.set(self.keys.progress(track), progress.dump())

    def client(self, key_id: str, api: int = 0) -> httpx.Client:
        """A client that holds one of the keys of `keys_file`."""
        return httpx.Client(base_url=self.apis[api].url, headers={"X-API-Key": f"{key_id}-key"}, timeout=30.0)

    def drop(self, track: str) -> None:
        """Remove the record of a deleted resource, as the operator does."""
        with contextlib.closing(self.redis()) as client:
            client.delete(self.keys.record(track), self.keys.progress(track))
            client.zrem(self.keys.tracks, track)

    def forget(self) -> None:
        """Flush the mirror."""
        with contextlib.closing(self.redis()) as client:
            client.flushall()


@contextlib.contextmanager
def world(plane: ControlPlane, folder: Path, **extra: str) -> Iterator[World]:
    """Start everything; the API has exactly the rights that the chart grants it."""
    namespace = f"api-{time.monotonic_ns():x}"
    plane.api.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    grant(plane, namespace)
    kubeconfig = plane.kubeconfig_of_account(namespace, ACCOUNT)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(valkey(folder).running())
        store = stack.enter_context(object_store(folder))
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "STEMYARD_INSTALL_ID": INSTALL,
            "STEMYARD_NAMESPACE": namespace,
            "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
            **store.environment,
            "API_KEYS_FILE": str(keys_file(folder, (namespace, TENANT_NAMESPACE))),
            "RATE_LIMIT_SUBMITS_PER_MINUTE": "0",
            "WEBHOOK_MASTER_SECRET": MASTER_SECRET,
            **extra,
        }
        first = stack.enter_context(api_process(folder, environment))
        second = stack.enter_context(api_process(folder, environment))
        yield World(plane, namespace, cache, store, (first, second))


def keys_file(folder: Path, namespaces: Sequence[str] = ()) -> Path:
    """Write a file of keys; each key is its id with the suffix `-key`. The key `tenant` names these namespaces."""
    scopes = {"team-a": "submit, read", "team-b": "submit, read", "reader": "read", "boss": "admin, read, submit"}
    entries = [
        f"- {{id: {key_id}, sha256: {hashlib.sha256(f'{key_id}-key'.encode()).hexdigest()}, scopes: [{listed}]}}"
        for key_id, listed in scopes.items()
    ]
    tenant = hashlib.sha256(b"tenant-key").hexdigest()
    entries.append(f"- {{id: tenant, sha256: {tenant}, scopes: [submit, read], namespaces: {json.dumps(namespaces)}}}")
    path = folder / "keys.yaml"
    path.write_text("keys:\n" + "\n".join(entries) + "\n")
    return path


def grant(plane: ControlPlane, namespace: str) -> None:
    """Give the API's account its rights."""
    rule = {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs", "keywebhooks"], "verbs": VERBS}
    plane.api.post(f"{RBAC}/{namespace}/roles", {"metadata": {"name": ACCOUNT}, "rules": [rule]})
    binding = {
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }
    plane.api.post(f"{RBAC}/{namespace}/rolebindings", binding)


def published(track: str, run: int = 1) -> dict[str, Any]:
    """Return the status of a track whose stems were just published, after 30 seconds."""
    return tracks.status_completed(run, track, datetime.now(UTC).replace(microsecond=0))


def services(api: Api) -> dict[str, Any]:
    """Return the states of the backends as the API reports them."""
    return dict(httpx.get(f"{api.url}/health").json()["services"])
