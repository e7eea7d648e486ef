"""Two real API processes over a real API server, Valkey and S3 store; tests take the operator's part."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis

from localcluster.control_plane import ControlPlane
from stemyard_contract.mirror import MirrorKeys, ProgressRecord, record_of
from tests.api import tracks
from tests.support.servers import Api, ObjectStore, Server, api_process, object_store, valkey

INSTALL = "test"
ACCOUNT = "stemyard-api"
VERBS = ["get", "list", "create", "patch", "delete"]
"""Everything the API may do in the cluster, on SeparationJobs of one namespace."""
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


@dataclass(frozen=True)
class World:
    """All of it, and what tests do with it."""

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
        """Do what the operator does: write a status, and mirror the resource."""
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
        """Do what the operator does when a resource is gone."""
        with contextlib.closing(self.redis()) as client:
            client.delete(self.keys.record(track), self.keys.progress(track))
            client.zrem(self.keys.tracks, track)

    def forget(self) -> None:
        """Flush the mirror."""
        with contextlib.closing(self.redis()) as client:
            client.flushall()


@contextlib.contextmanager
def world(plane: ControlPlane, folder: Path, **extra: str) -> Iterator[World]:
    """Start it all; the API has exactly the rights that its chart gives it."""
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
            "API_KEYS_FILE": str(keys_file(folder)),
            "RATE_LIMIT_SUBMITS_PER_MINUTE": "0",
            **extra,
        }
        first = stack.enter_context(api_process(folder, environment))
        second = stack.enter_context(api_process(folder, environment))
        yield World(plane, namespace, cache, store, (first, second))


def keys_file(folder: Path) -> Path:
    """Write a file of keys; each key is its id with `-key` behind it."""
    scopes = {"team-a": "submit, read", "team-b": "submit, read", "reader": "read", "boss": "admin, read, submit"}
    entries = [
        f"- {{id: {key_id}, sha256: {hashlib.sha256(f'{key_id}-key'.encode()).hexdigest()}, scopes: [{listed}]}}"
        for key_id, listed in scopes.items()
    ]
    path = folder / "keys.yaml"
    path.write_text("keys:\n" + "\n".join(entries) + "\n")
    return path


def grant(plane: ControlPlane, namespace: str) -> None:
    """Give the API's account its rights."""
    rule = {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs"], "verbs": VERBS}
    plane.api.post(f"{RBAC}/{namespace}/roles", {"metadata": {"name": ACCOUNT}, "rules": [rule]})
    binding = {
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }
    plane.api.post(f"{RBAC}/{namespace}/rolebindings", binding)


def published(track: str, run: int = 1) -> dict[str, Any]:
    """The status of a track whose stems were published just now, after 30 seconds."""
    return tracks.status_completed(run, track, datetime.now(UTC).replace(microsecond=0))


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until a condition holds, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def services(api: Api) -> dict[str, Any]:
    """What the API says of the parts behind it."""
    return dict(httpx.get(f"{api.url}/health").json()["services"])
