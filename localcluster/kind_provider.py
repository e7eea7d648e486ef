"""The provider for machines with a running Docker engine: kind for the cluster, Docker for the images."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from localcluster import addons, binaries, support_images, tools
from localcluster.builder import Build
from localcluster.errors import CommandFailedError
from localcluster.folders import Folders
from localcluster.programs import find, run
from localcluster.progress import step

NAME = "stemyard"
NODE_PORTS = (30550, 30551, 30900, 30901)
"""NodePorts of the API and the store, of the demo and of the cluster tests, which install beside it."""
KUBELET_PORT = 10250
"""Port on which the kubelet of every node listens."""
LABEL = "dev.stemyard.localcluster"
"""Label of the images built by this provider."""
LIMIT = 3600.0
NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
"""Image of the nodes, that of the pinned kind's release; an installed kind of another version would use its own."""
NODE_IMAGE_VARIABLE = "STEMYARD_KIND_NODE_IMAGE"
"""Names another one, such as one that is in Docker already where there is no network."""


def configuration(workers: int) -> str:
    """Return kind's cluster configuration, which maps NODE_PORTS of the control plane's node to the host's loopback.

    With workers that node runs only the cluster's own pods; its NodePorts reach pods on every node.
    """
    mappings = [
        {"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1", "protocol": "TCP"}
        for port in NODE_PORTS
    ]
    nodes = [{"role": "control-plane", "extraPortMappings": mappings}, *[{"role": "worker"}] * workers]
    return json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}, indent=1)


@dataclass(frozen=True)
class KindProvider:
    """A kind cluster called `stemyard`."""

    folders: Folders

    def prepare(self) -> None:
        """Compile kind unless it is installed."""
        self._kind()

    def up(self, gpus: int, workers: int = 0) -> None:
        """Create the cluster unless it exists, load the images built here, and advertise simulated GPUs."""
        if NAME not in self._clusters():
            config = self.folders.state / "kind.json"
            config.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(configuration(workers))
            with step("creating the kind cluster"):
                image = os.environ.get(NODE_IMAGE_VARIABLE) or NODE_IMAGE
                self._kind_on_cluster("create", "cluster", "--config", str(config), "--image", image, "--wait", "180s")
                self._kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=180s")
            self._load(*self._built())
        self._kind_on_cluster("export", "kubeconfig")
        patch = json.dumps(addons.gpus(gpus)[1])
        for node in self._kubectl("get", "nodes", "--output=name").split():
            self._kubectl("patch", node, "--subresource=status", "--type=merge", "--patch", patch)

    def down(self) -> None:
        """Delete the cluster if it exists."""
        if NAME in self._clusters():
            self._kind_on_cluster("delete", "cluster")
        for path in (self.kubeconfig(), self.folders.state / "kind.json"):
            path.unlink(missing_ok=True)

    def problems(self) -> list[str]:
        """Return the cluster's problems: it does not exist, or a node is not Ready."""
        if NAME not in self._clusters():
            return ["The cluster is down; start it with `python3 -m localcluster up`."]
        try:
            self._kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=1s")
        except CommandFailedError as error:
            return [f"A node is not Ready: {str(error).splitlines()[-1]}"]
        return []

    def kubeconfig(self) -> Path:
        """Return the path of a separate kubeconfig; the user's is not changed."""
        return self.folders.state / "kind.kubeconfig"

    def node_address(self) -> str:
        """Return the node's internal address, which pods reach as well, if the host has a route to it.

        Otherwise, as with Docker's engine in a virtual machine, return the loopback address, to which NODE_PORTS are
        mapped.
        """
        internal = "--output=jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"
        found = self._kubectl("get", "node", f"{NAME}-control-plane", internal).split()
        return found[0] if found and _accepts_connections(found[0], KUBELET_PORT) else "127.0.0.1"

    def base_image(self) -> str:
        """Return an empty string: Docker pulls the public image that the Dockerfile names."""
        return ""

    def build_image(self, build: Build) -> str:
        """Build with Docker and load the image into the nodes if the cluster exists."""
        arguments = [item for name, value in build.arguments.items() for item in ("--build-arg", f"{name}={value}")]
        target = ["--target", build.target] if build.target else []
        with step(f"building {build.tag}"):
            # An image with attestations is an index, which not every Docker version can load into a node.
            command = ["docker", "build", "--provenance=false", "--label", LABEL]
            command += ["--file", str(build.file), "--tag", build.tag]
            self._run([*command, *target, *arguments, str(build.context)])
        if NAME in self._clusters():
            self._load(build.tag)
        return self._run(["docker", "image", "inspect", "--format", "{{.Id}}", build.tag]).strip()

    def load_image(self, archive: Path) -> str:
        """Load an archived image into the nodes."""
        return self._run([str(self._kind()), "load", "image-archive", str(archive), "--name", NAME]).strip()

    def support_images(self) -> dict[str, str]:
        """Return the public images, which the nodes pull when needed."""
        return self.image_names()

    def image_names(self) -> dict[str, str]:
        """Return the public images."""
        return {"STEMYARD_S3_IMAGE": support_images.PUBLIC_S3, "STEMYARD_VALKEY_IMAGE": support_images.PUBLIC_VALKEY}

    def _built(self) -> list[str]:
        """Return the names of all images built by this provider."""
        options = ("--filter", f"label={LABEL}", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}")
        return self._run(["docker", "image", "ls", *options]).split()

    def _load(self, *tags: str) -> None:
        for tag in tags:
            self._run([str(self._kind()), "load", "docker-image", tag, "--name", NAME])

    def _clusters(self) -> list[str]:
        # Without kind there is no cluster of kind, and no reason to compile it.
        kind = self._installed_kind()
        return self._run([str(kind), "get", "clusters"]).split() if kind else []

    def _installed_kind(self) -> Path | None:
        cached = binaries.folder_of(binaries.KIND, self.folders) / "kind"
        return find("kind") or (cached if cached.exists() else None)

    def _kind(self) -> Path:
        return self._installed_kind() or tools.path_of("kind", self.folders)

    def _kind_on_cluster(self, *arguments: str) -> str:
        # On every call, since kind writes into the user's kubeconfig otherwise.
        return self._run([str(self._kind()), *arguments, "--name", NAME, "--kubeconfig", str(self.kubeconfig())])

    def _kubectl(self, *arguments: str) -> str:
        kubectl = find("kubectl") or tools.path_of("kubectl", self.folders)
        return self._run([str(kubectl), "--kubeconfig", str(self.kubeconfig()), *arguments])

    def _run(self, command: list[str]) -> str:
        return run(command, timeout=LIMIT)


def _accepts_connections(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True
