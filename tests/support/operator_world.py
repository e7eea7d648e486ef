"""The operator as a real process over a real API server, Valkey and S3 store; tests act as the kubelet."""

import contextlib
import hashlib
import mimetypes
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from localcluster.control_plane import ControlPlane, free_port
from stemyard_contract.handover import DESK_AUDIENCE, MarkReference, Outcome, WorkStage
from stemyard_contract.identity import job_name
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_operator.model.job import job_of
from stemyard_operator.model.separation import Separation, separation_of
from tests.operator.world import mark_of
from tests.support.servers import ObjectStore, Server, object_store, valkey
from tests.support.waiting import eventually as eventually

INSTALL = "test"
MASTER_SECRET = "a master secret that only API and operator hold"
ACCOUNT = "stemyard-operator"
SEPARATOR = "stemyard-separator"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "name": ACCOUNT}
RULES = [
    {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs"], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs/status"], "verbs": ["patch"]},
    {"apiGroups": ["stemyard.dev"], "resources": ["keywebhooks"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    {"apiGroups": ["kueue.x-k8s.io"], "resources": ["workloads"], "verbs": ["list"]},
]
"""Everything the operator may do in a watched namespace."""
CLUSTER_RULES = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
"""Everything it may do in the whole cluster."""


@dataclass
class Operator:
    """One replica as its own process."""

    server: Server
    health_port: int

    @property
    def desk(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.health_port}/readyz").status_code == 200
        return False

    def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Its metrics: values by name and label values, in the order of the labels' names."""
        text = httpx.get(f"http://127.0.0.1:{self.health_port}/metrics").raise_for_status().text
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "le" not in sample.labels
        }

    def start(self) -> None:
        self.server.start()
        self.server.wait_until(self.is_ready)

    def kill(self) -> None:
        self.server.stop(signal.SIGKILL)

    def alive(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None


@dataclass
class World:
    """API server, Valkey, S3 store and operators, and the actions of tests."""

    plane: ControlPlane
    namespace: str
    valkey: Server
    store: ObjectStore
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    tenant_of: str = ""
    """The API's namespace, if this is another one."""

    @property
    def keys(self) -> MirrorKeys:
        return MirrorKeys(INSTALL)

    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.valkey.port, decode_responses=True)

    # resources

    def path(self, kind: str, name: str = "") -> str:
        group = {"separationjobs": "/apis/stemyard.dev/v1alpha1", "jobs": "/apis/batch/v1"}.get(kind, "/api/v1")
        collection = f"{group}/namespaces/{self.namespace}/{kind}"
        return f"{collection}/{name}" if name else collection

    def create(self, name: str = "song", **spec: Any) -> Separation:
        body = {
            "apiVersion": "stemyard.dev/v1alpha1",
            "kind": "SeparationJob",
            "metadata": {"name": name},
            "spec": {"source": {"url": "https://example.com/song.mp3"}, **spec},
        }
        return separation_of(self.plane.api.post(self.path("separationjobs"), body), self.tenant_of or self.namespace)

    def separation(self, name: str = "song") -> Separation:
        return separation_of(self.plane.api.get(self.path("separationjobs", name)), self.tenant_of or self.namespace)

    def phase(self, name: str = "song") -> str:
        return self.separation(name).status.phase or ""

    def jobs(self) -> dict[str, dict[str, Any]]:
        return {job["metadata"]["name"]: job for job in self.plane.api.get(self.path("jobs"))["items"]}

    def wait_job(self, stage: WorkStage, attempt: int = 1, name: str = "song", run: int = 1) -> dict[str, Any]:
        wanted = job_name(name, self.separation(name).uid, stage, run, attempt)
        eventually(lambda: wanted in self.jobs())
        return self.jobs()[wanted]

    # the kubelet and the Job controller

    def pod(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Create the pod of a Job, as the Job controller does."""
        owner = {"apiVersion": "batch/v1", "kind": "Job", "controller": True}
        owner |= {"name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        template = job["spec"]["template"]
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        metadata = {"generateName": job["metadata"]["name"] + "-", "labels": labels, "ownerReferences": [owner]}
        return self.plane.api.post(self.path("pods"), {"metadata": metadata, "spec": template["spec"]})

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Start the pod of a Job."""
        pod = self.pod(job)
        self._pod_status(pod, "Running", {"running": {"startedAt": stamp()}})
        status = {"startTime": stamp(), "active": 1, "ready": 1, "terminating": 0}
        self._job_status(job, status)
        return pod

    def succeed(
        self, job: Mapping[str, Any], pod: Mapping[str, Any], *, outcome: bool = True, recording: str = ""
    ) -> str:
        """Write the commit mark and the files it names, then complete pod and Job. Returns the key of the mark."""
        reference = self.publish(job, pod, recording)
        self.finish(job, pod, 0, Outcome(stage=stage_of(job), mark=reference).dump() if outcome else "")
        return reference.key

    def publish(self, job: Mapping[str, Any], pod: Mapping[str, Any], recording: str = "") -> MarkReference:
        """Write the commit mark and the files it names."""
        typed = job_of(job)
        assert typed is not None
        name = job["metadata"]["ownerReferences"][0]["name"]
        return self.publish_of(name, typed.stage, typed.run, pod["metadata"]["uid"], recording)

    def publish_of(self, name: str, stage: WorkStage, run: int, pod_uid: str, recording: str = "") -> MarkReference:
        """Write the commit mark of a stage of a SeparationJob and the files it names, as this pod does."""
        separation = self.separation(name)
        key, content, beside = mark_of(separation, stage, run, pod_uid, INSTALL, recording)
        client = self.store.client()
        for file, body in {**beside, key: content}.items():
            kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
            client.put_object(Bucket=self.store.bucket, Key=file, Body=body, ContentType=kind)
        client.close()
        return MarkReference(key=key, sha256=hashlib.sha256(content).hexdigest())

    def fail(self, job: Mapping[str, Any], pod: Mapping[str, Any], code: str) -> None:
        """End pod and Job with a failure code."""
        self.finish(job, pod, 1, Outcome(stage=stage_of(job), code=code).dump())

    def run_out_of_memory(self, job: Mapping[str, Any], pod: Mapping[str, Any]) -> None:
        """End pod and Job as after an OOM kill."""
        self.finish(job, pod, 137, reason="OOMKilled")

    def disrupt(self, pod: Mapping[str, Any]) -> None:
        """Mark a pod as disrupted, as the eviction API and the node controller do."""
        path = self.path("pods", pod["metadata"]["name"])
        target = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp()}
        known = self.plane.api.get(path)["status"].get("conditions") or []
        self.plane.api.merge(path + "/status", {"status": {"conditions": [*known, target]}})

    def finish(
        self, job: Mapping[str, Any], pod: Mapping[str, Any], exit_code: int, message: str = "", reason: str = "Error"
    ) -> None:
        """End pod and Job with this exit code and termination message."""
        ended = {"exitCode": exit_code, "startedAt": stamp(), "finishedAt": stamp(), "message": message}
        if exit_code == 0:
            self._pod_status(pod, "Succeeded", {"terminated": {**ended, "reason": "Completed"}})
            self._end(job, "Complete", "SuccessCriteriaMet", {"succeeded": 1, "completionTime": stamp()})
        else:
            self._pod_status(pod, "Failed", {"terminated": {**ended, "reason": reason}})
            self._end(job, "Failed", "FailureTarget", {"failed": 1})

    def _end(self, job: Mapping[str, Any], how: str, first: str, more: dict[str, Any]) -> None:
        conditions = [
            {"type": kind, "status": "True", "reason": "Test", "lastTransitionTime": stamp()} for kind in (first, how)
        ]
        status = {"active": 0, "ready": 0, "terminating": 0, "startTime": stamp(), "conditions": conditions, **more}
        self._job_status(job, status)

    def _job_status(self, job: Mapping[str, Any], status: dict[str, Any]) -> None:
        path = self.path("jobs", job["metadata"]["name"])
        known = self.plane.api.get(path).get("status") or {}
        if "startTime" in known:
            status = {**status, "startTime": known["startTime"]}
        self.plane.api.merge(path + "/status", {"status": {"uncountedTerminatedPods": {}, **status}})

    def _pod_status(self, pod: Mapping[str, Any], phase: str, state: dict[str, Any]) -> None:
        container = {"name": "separator", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()}
        known = self.plane.api.get(self.path("pods", pod["metadata"]["name"]))["status"].get("conditions") or []
        kept = [one for one in known if one["type"] == "DisruptionTarget"]
        status = {
            "phase": phase,
            "conditions": [scheduled, *kept],
            "containerStatuses": [{**container, "state": state}],
        }
        self.plane.api.merge(self.path("pods", pod["metadata"]["name"]) + "/status", {"status": status})

    def token(self, pod: Mapping[str, Any], audience: str = DESK_AUDIENCE, account: str = SEPARATOR) -> str:
        """A token as the kubelet projects it into this pod."""
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound},
        }
        return str(self.plane.api.post(self.path("serviceaccounts", account) + "/token", body)["status"]["token"])

    # a whole run

    def separate(self, name: str = "song") -> None:
        """Run a SeparationJob to completion."""
        for stage in WorkStage:
            job = self.wait_job(stage, name=name)
            self.succeed(job, self.run(job))
        eventually(lambda: self.phase(name) == "Completed")

    def objects(self, prefix: str = "") -> list[str]:
        client = self.store.client()
        listed = client.list_objects_v2(Bucket=self.store.bucket, Prefix=f"{INSTALL}/{prefix}").get("Contents", [])
        client.close()
        return [entry["Key"] for entry in listed]

    def operator(self, **environment: str) -> Operator:
        """Return a new replica, not started yet."""
        port, health = free_port(), free_port()
        desk = {"DESK_PORT": str(port), "DESK_URL": f"http://127.0.0.1:{port}"}
        values = {**self.environment, **desk, "HEALTH_PORT": str(health), **environment}
        command = [sys.executable, "-m", "stemyard_operator"]
        return Operator(Server("operator", command, port, self.folder, values), health)

    @contextlib.contextmanager
    def operating(self, **environment: str) -> Iterator[Operator]:
        """Run a replica while the block runs."""
        operator = self.operator(**environment)
        try:
            operator.start()
            yield operator
        finally:
            if operator.alive():
                operator.kill()


@contextlib.contextmanager
def world(plane: ControlPlane, folder: Path) -> Iterator[World]:
    """Start everything but the operator, with exactly the rights that the chart grants it."""
    namespace = f"op-{time.monotonic_ns():x}"
    plane.api.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    plane.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": SEPARATOR}})
    grant(plane, namespace)
    kubeconfig = plane.kubeconfig_of_account(namespace, ACCOUNT)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(valkey(folder).running())
        store = stack.enter_context(object_store(folder))
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "STEMYARD_INSTALL_ID": INSTALL,
            "POD_NAMESPACE": namespace,
            "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
            "RETRY_BASE_SECONDS": "1",
            "WEBHOOK_MASTER_SECRET": MASTER_SECRET,
            **store.environment,
        }
        yield World(plane, namespace, cache, store, folder, environment)


def second_namespace(home: World) -> World:
    """Another namespace, in which the operator of `home` has no rights until `bind`."""
    found = replace(home, namespace=f"{home.namespace}-tenant", tenant_of=home.namespace)
    home.plane.api.post("/api/v1/namespaces", {"metadata": {"name": found.namespace}})
    home.plane.api.post(found.path("serviceaccounts"), {"metadata": {"name": SEPARATOR}})
    role = {"metadata": {"name": ACCOUNT}, "rules": RULES}
    home.plane.api.post(f"{RBAC}/namespaces/{found.namespace}/roles", role)
    return found


def bindings(namespace: str) -> str:
    """Return the path of a namespace's RoleBindings."""
    return f"{RBAC}/namespaces/{namespace}/rolebindings"


def bind(plane: ControlPlane, namespace: str, home: str) -> None:
    """Give the operator's account of a home namespace its rights in a namespace that has the Role."""
    role = {**_ROLE, "kind": "Role"}
    plane.api.post(bindings(namespace), {"metadata": {"name": ACCOUNT}, "roleRef": role, "subjects": _subjects(home)})


def grant(plane: ControlPlane, namespace: str) -> None:
    """Give the operator's account its rights."""
    plane.api.post(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": ACCOUNT}, "rules": RULES})
    bind(plane, namespace, namespace)
    plane.api.post(f"{RBAC}/clusterroles", {"metadata": {"name": namespace}, "rules": CLUSTER_RULES})
    role = {**_ROLE, "kind": "ClusterRole", "name": namespace}
    body = {"metadata": {"name": namespace}, "roleRef": role, "subjects": _subjects(namespace)}
    plane.api.post(f"{RBAC}/clusterrolebindings", body)


def _subjects(home: str) -> list[dict[str, str]]:
    return [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": home}]


def stage_of(job: Mapping[str, Any]) -> WorkStage:
    """Return the stage of a Job."""
    typed = job_of(job)
    assert typed is not None
    return typed.stage


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
