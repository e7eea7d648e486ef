"""A node of an API server's world: its kubelet serves the logs of pods, and nothing else."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcluster.control_plane import ControlPlane
from tests.support.http_server import Exchange, HttpServer
from tests.support.tls import tls_before


@dataclass
class Node:
    """A node; `logs` are served by the names of pods."""

    plane: ControlPlane
    name: str
    logs: dict[str, str] = field(default_factory=dict)

    def bind(self, pod: dict[str, Any]) -> None:
        """Place a pod on the node, as the scheduler does."""
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
        self.plane.api.post(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding", body)

    def serve(self, exchange: Exchange) -> None:
        """Answer `GET /containerLogs/NAMESPACE/POD/CONTAINER`."""
        pod = exchange.route_path.split("/")[3]
        lines = self.logs[pod].splitlines(keepends=True)
        if "tailLines=" in exchange.path:
            last = int(exchange.path.partition("tailLines=")[2].partition("&")[0])
            lines = lines[-last:]
        exchange.answer(200, "".join(lines).encode(), Content_Type="text/plain")


@contextlib.contextmanager
def node(plane: ControlPlane, folder: Path, name: str) -> Iterator[Node]:
    """Add a node to the API server while the block runs."""
    found = Node(plane, name)
    with HttpServer(found.serve) as server, tls_before(server.port, folder) as endpoint:
        plane.api.post("/api/v1/nodes", {"metadata": {"name": name}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": endpoint.port}},
        }
        plane.api.merge(f"/api/v1/nodes/{name}/status", {"status": status})
        try:
            yield found
        finally:
            plane.api.delete(f"/api/v1/nodes/{name}")
