"""The local cluster: brings it up from any state, reports its problems, and removes it completely."""

import json
import shutil
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster import addons, addresses, binaries, network
from localcluster.addresses import Plan
from localcluster.control_plane import ControlPlane
from localcluster.daemon import Daemon, processes_of, terminate
from localcluster.errors import ApiRefusedError, LocalClusterError, NotReadyError
from localcluster.folders import Folders
from localcluster.identities import Identities
from localcluster.image_store import ImageStore
from localcluster.kube_api import KubeApi
from localcluster.locks import exclusive
from localcluster.node import Node
from localcluster.node_config import NODE, PAUSE_IMAGE
from localcluster.oci import Recipe, layout_of
from localcluster.progress import say, step

READY_LIMIT = 120.0
API_PORT = 6443
PROGRAM_IMAGES = {PAUSE_IMAGE: "pause", addons.DNS_IMAGE: "coredns"}


@dataclass(frozen=True)
class LocalCluster:
    """The cluster of one state folder; a machine runs one at a time."""

    folders: Folders

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it exists while the cluster is up."""
        return Identities(self.folders.control_plane).admin

    @property
    def node_address(self) -> str:
        """The address of NodePorts, reachable from this machine and from pods."""
        return self._plan().node

    @property
    def images(self) -> ImageStore:
        """The node's images."""
        return ImageStore(self._node(Path("/")).namespaces)

    def up(self, gpus: int) -> None:
        """Bring the cluster up; the remains of a broken one are removed first, a healthy one is only completed.

        Args:
            gpus: number of simulated GPUs that the node advertises.
        """
        programs = binaries.cluster_binaries(self.folders)
        with self._locked():
            if self._node(programs).namespaces.process() is None:
                self._clear()
                self._bring_up(programs, gpus)
                return
            try:
                self._bring_up(programs, gpus)
            except LocalClusterError as error:
                say(f"the existing cluster cannot be completed, recreating it: {error}")
                self._clear()
                self._bring_up(programs, gpus)

    def down(self) -> None:
        """Stop everything and remove the state folder; does nothing if there is no cluster."""
        with self._locked():
            self._clear()

    def exists(self) -> bool:
        """Return whether a cluster exists, healthy or not."""
        return self._plan_file.exists()

    def problems(self) -> list[str]:
        """Return one sentence for each problem; an empty list if the cluster is healthy."""
        if not self.exists():
            return ["The cluster is down; start it with `python3 -m localcluster up`."]
        stopped = [
            f"{daemon.name} is not running (log: {daemon.log})." for daemon in self._servers() if not daemon.pid()
        ]
        if stopped:
            return stopped
        api = Identities(self.folders.control_plane).api
        if not api.is_ready():
            return [f"The API server at {api.server} is not ready."]
        return [] if _node_is_ready(api) else ["The node is not Ready; see `kubectl describe node`."]

    def _bring_up(self, programs: Path, gpus: int) -> None:
        with step("starting the control plane"):
            control_plane = self._control_plane(programs)
            control_plane.start()
        node = self._node(programs)
        with step("starting the node"):
            node.prepare(self._plan(), control_plane.identities)
            node.start_runtime()
            self._load_program_images(programs)
            node.start_servers()
            self._wait_for_node(control_plane.api, node)
        with step("completing the cluster"):
            self._complete(control_plane.api, node, gpus)

    def _locked(self) -> AbstractContextManager[None]:
        # In the cache, because `down` removes the state folder.
        return exclusive(self.folders.cache / "cluster.lock", "waiting for another command that works on the cluster")

    @property
    def _plan_file(self) -> Path:
        return self.folders.state / "plan.json"

    def _plan(self) -> Plan:
        if not self._plan_file.exists():
            self.folders.state.mkdir(parents=True, exist_ok=True)
            self._plan_file.write_text(json.dumps(asdict(addresses.of_this_machine())))
        return Plan(**json.loads(self._plan_file.read_text()))

    def _control_plane(self, programs: Path) -> ControlPlane:
        plan, node = self._plan(), self._node(programs)
        # The API server listens on the node's address, so its interface must exist first.
        node.make_network(plan)
        return ControlPlane(
            self.folders.control_plane,
            controllers=True,
            scheduler=True,
            address=plan.node,
            port=API_PORT,
            services=plan.services,
            service_address=plan.api,
            program=programs / "node",
        )

    def _node(self, programs: Path) -> Node:
        return Node(self.folders.node, programs)

    def _servers(self) -> list[Daemon]:
        control_plane = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        node = ("namespaces", "containerd", "kubelet", "kube-proxy")
        return [Daemon(name, (), self.folders.control_plane) for name in control_plane] + [
            Daemon(name, (), self.folders.node) for name in node
        ]

    def _clear(self) -> None:
        if self.folders.state.exists():
            say("removing the existing cluster")
        terminate(
            [pid for daemon in reversed(self._servers()) if (pid := daemon.pid()) and daemon.name != "namespaces"],
            grace=2.0,
        )
        self._node(Path("/")).stop()
        if self.exists():
            network.remove_pod_links(self._plan())
        terminate(processes_of(self.folders.state), grace=0.5)
        if self.folders.state.exists():
            shutil.rmtree(self.folders.state)

    def _load_program_images(self, programs: Path) -> None:
        for name, program in PROGRAM_IMAGES.items():
            path = f"/{program}"
            # CoreDNS binds port 53, which its added capability permits only to root.
            user = "0:0" if program == "coredns" else "65535:65535"
            recipe = Recipe({path: programs / program}, (path,), user)
            self.images.load(layout_of(recipe, program, self.folders.archives), name)

    def _wait_for_node(self, api: KubeApi, node: Node) -> None:
        deadline = time.monotonic() + READY_LIMIT
        while not _node_is_ready(api):
            for daemon in node.daemons():
                daemon.check_running()
            if time.monotonic() > deadline:
                raise NotReadyError(f"the node was not Ready within {READY_LIMIT:.0f} s (logs: {node.folder / 'logs'})")
            time.sleep(0.2)

    def _complete(self, api: KubeApi, node: Node, gpus: int) -> None:
        for path, document in addons.dns(self._plan(), node.has_upstream_dns()).items():
            api.apply(path, document)
        api.apply(*addons.storage_class())
        for number in range(addons.VOLUMES):
            self._recreate_volume(api, number)
        api.merge(*addons.gpus(gpus))
        self._wait_for_dns(api)

    def _recreate_volume(self, api: KubeApi, number: int) -> None:
        # A released volume keeps its data and cannot be bound again, so it is recreated.
        folder = self.folders.state / "volumes" / f"{number:02d}"
        path = f"/api/v1/persistentvolumes/local-{number:02d}"
        with suppress(ApiRefusedError):
            if api.get(path).get("status", {}).get("phase") in {"Released", "Failed"}:
                api.delete(path)
                shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        api.apply(path, addons.volume(number, folder))

    def _wait_for_dns(self, api: KubeApi) -> None:
        deadline = time.monotonic() + READY_LIMIT
        path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
        while not api.get(path).get("status", {}).get("readyReplicas"):
            if time.monotonic() > deadline:
                raise NotReadyError("the cluster's DNS was not ready; see `kubectl -n kube-system describe pods`")
            time.sleep(0.3)


def _node_is_ready(api: KubeApi) -> bool:
    try:
        conditions = api.get(f"/api/v1/nodes/{NODE}").get("status", {}).get("conditions", [])
    except (ApiRefusedError, OSError):
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
