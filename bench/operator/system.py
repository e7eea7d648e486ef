"""The measured system: a real control plane, Valkey and S3 server, simulated nodes, and operators as processes."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from bench.operator.client import Access
from localcluster.control_plane import ControlPlane, free_port
from stemyard_operator.maintenance.orphans import STATE_FILE
from tests.api_server.conftest import install_crd
from tests.support.operator_world import INSTALL, SEPARATOR, Operator
from tests.support.servers import ObjectStore, Server, object_store, valkey

POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
    users: [ours, idiomatic, bench]
  - level: None
"""
NODES = 4


@dataclass
class Measured:
    """An operator process."""

    namespace: str
    server: Server

    @property
    def pid(self) -> int:
        assert self.server.process is not None
        return self.server.process.pid

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mebibytes(self, field: str) -> float:
        """Return a memory field of `/proc/<pid>/status`: VmRSS (current) or VmHWM (peak)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [line] = [one for one in lines if one.startswith(field + ":")]
        return int(line.split()[1]) / 1024


@dataclass
class System:
    plane: ControlPlane
    store: ObjectStore
    folder: Path
    environment: dict[str, str]
    access: Access
    """Access of the client that creates separations; its writes are counted with the operator's."""
    nodes_access: Access

    def store_file(self, key: str) -> None:
        """Write a small object to the folder of the store: thousands of them are only listed."""
        file = self._bucket / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")

    @property
    def _bucket(self) -> Path:
        return self.folder / "objects" / self.store.bucket

    def sweep(self) -> dict[str, Any] | None:
        """Return what the last sweep found, None if there was none."""
        state = self._bucket / INSTALL / STATE_FILE
        return json.loads(state.read_text()) if state.exists() else None

    def mirror_bytes(self) -> int:
        """Return the memory that Valkey uses."""
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            return int(client.info("memory")["used_memory"])

    def namespace(self, name: str) -> str:
        self.plane.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
        self.plane.api.post(accounts, {"metadata": {"name": SEPARATOR}})
        return name

    @contextlib.contextmanager
    def ours(self, namespace: str, replica: int = 1, **environment: str) -> Iterator[Measured]:
        """Run a replica of Stemyard's operator as in production, with concurrency limits that are never reached."""
        port, health = free_port(), free_port()
        values = {
            **self.environment,
            "KUBECONFIG": str(self.plane.kubeconfig_for("ours", ["system:masters"])),
            "POD_NAMESPACE": namespace,
            "MAX_ACTIVE": "1000",
            "MAX_ACTIVE_FETCH": "1000",
            "DESK_PORT": str(port),
            "HEALTH_PORT": str(health),
            **environment,
        }
        server = Server(
            f"ours-{namespace}-{replica}", [sys.executable, "-m", "stemyard_operator"], port, self.folder, values
        )
        try:
            Operator(server, health).start()
            yield Measured(namespace, server)
        finally:
            if server.process is not None and server.process.poll() is None:
                server.stop()

    @contextlib.contextmanager
    def idiomatic(self, namespace: str, **environment: str) -> Iterator[Measured]:
        """Run the operator for comparison, by kopf's command."""
        health = free_port()
        values = {
            **self.environment,
            "KUBECONFIG": str(self.plane.kubeconfig_for("idiomatic", ["system:masters"])),
            "POD_NAMESPACE": namespace,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **environment,
        }
        liveness = f"--liveness=http://127.0.0.1:{health}/healthz"
        command = [sys.executable, "-m", "kopf", "run", "-m", "bench.operator.idiomatic", "--standalone"]
        server = Server(namespace, [*command, "-n", namespace, liveness], health, self.folder, values)
        with server.running():
            yield Measured(namespace, server)

    def writes(self) -> list[dict[str, str]]:
        """Return the writes in the audit log: user, verb, resource, namespace, name and code."""
        found = []
        for line in (self.folder / "audit.log").read_text().splitlines():
            event = json.loads(line)
            reference = event.get("objectRef", {})
            part = f"/{reference['subresource']}" if "subresource" in reference else ""
            found.append(
                {
                    "user": event["user"]["username"],
                    "verb": event["verb"],
                    "resource": reference.get("resource", "") + part,
                    "namespace": reference.get("namespace", ""),
                    "name": reference.get("name", ""),
                    "code": str(event.get("responseStatus", {}).get("code", 0)),
                }
            )
        return found


@contextlib.contextmanager
def system(folder: Path, pod_seconds: float) -> Iterator[System]:
    """Start everything but the operators."""
    (folder / "policy.yaml").write_text(POLICY)
    audit = [
        f"--audit-policy-file={folder / 'policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--audit-log-maxsize=2000",
    ]
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(
            ControlPlane(folder / "plane", controllers=True, scheduler=True, apiserver_flags=audit)
        )
        install_crd(plane)
        cache = stack.enter_context(valkey(folder).running())
        store = stack.enter_context(object_store(folder))
        environment = {
            "STEMYARD_INSTALL_ID": INSTALL,
            "REDIS_URL": f"redis://127.0.0.1:{cache.port}/0",
            "SWEEP_SECONDS": "0",
            **store.environment,
        }
        made = System(plane, store, folder, environment, _access(plane, "bench"), _access(plane, "nodes"))
        stack.enter_context(_nodes(made, pod_seconds))
        yield made


def _access(plane: ControlPlane, user: str) -> Access:
    plane.kubeconfig_for(user, ["system:masters"])
    pair = plane.identities.client_pair(user)
    authority = plane.identities.authority.certificate
    return Access(plane.server, str(authority), str(pair.certificate), str(pair.key))


@contextlib.contextmanager
def _nodes(made: System, seconds: float) -> Iterator[None]:
    store = made.store
    config = {
        "access": vars(made.nodes_access),
        "bucket": {"url": store.url, "bucket": store.bucket, "access": store.access_key, "secret": store.secret_key},
        "install": INSTALL,
        "count": NODES,
        "seconds": seconds,
    }
    root = str(Path(__file__).parents[2])
    with (made.folder / "nodes.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.operator.nodes"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=root
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(config).encode() + b"\n")
        process.stdin.close()
    try:
        deadline = time.monotonic() + 30
        while len(made.plane.api.get("/api/v1/nodes")["items"]) < NODES:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((made.folder / "nodes.log").read_text()[-2000:])
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()
