"""The node: containerd, kubelet and kube-proxy in their namespaces, with their files, network and control groups."""

import time
from dataclasses import dataclass
from pathlib import Path

from localcluster import cgroups, network, node_config
from localcluster.addresses import Plan
from localcluster.daemon import Daemon, processes_of, terminate
from localcluster.errors import CommandFailedError, MissingPrerequisiteError, NotReadyError
from localcluster.identities import Identities
from localcluster.kubeconfig import write
from localcluster.namespaces import Namespaces

READY_LIMIT = 90.0
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        folder: its configuration, data and logs.
        programs: folder of `node` and `pause`.
    """

    folder: Path
    programs: Path

    @property
    def namespaces(self) -> Namespaces:
        """The namespaces its servers run in."""
        return Namespaces(self.folder, self.programs / "pause")

    def daemons(self) -> list[Daemon]:
        """Return the servers in start order."""
        program = str(self.programs / "node")
        config, kubelet_config = str(self.folder / "containerd.toml"), str(self.folder / "kubelet.json")
        kubelet = [program, "kubelet", f"--config={kubelet_config}", f"--hostname-override={node_config.NODE}"]
        lines = {
            "containerd": ["containerd", "--config", config],
            "kubelet": [*kubelet, f"--kubeconfig={self.folder / 'kubelet.kubeconfig'}", f"--node-ip={self._address()}"],
            "kube-proxy": [program, "kube-proxy", f"--config={self.folder / 'kube-proxy.json'}"],
        }
        return [self.namespaces.daemon(name, argv) for name, argv in lines.items()]

    def make_network(self, plan: Plan) -> None:
        """Create the node's interface and rules on the host, and record the previous kernel parameters."""
        network.create(plan, self.folder / "switches.json")

    def prepare(self, plan: Plan, identities: Identities) -> None:
        """Write the configuration, create the control groups and the namespaces."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configure(plan, identities)
        cgroups.create()
        self.namespaces.open()

    def start_runtime(self) -> None:
        """Start containerd and wait until it answers."""
        containerd = self.daemons()[0]
        containerd.start()
        socket = Path("/proc", str(self.namespaces.process()), "root", node_config.CONTAINERD_SOCKET.lstrip("/"))
        deadline = time.monotonic() + READY_LIMIT
        while not (socket.exists() and self._runtime_answers()):
            containerd.check_running()
            if time.monotonic() > deadline:
                raise NotReadyError(f"containerd did not answer within {READY_LIMIT:.0f} s (log: {containerd.log})")
            time.sleep(0.1)

    def start_servers(self) -> None:
        """Start kubelet and kube-proxy."""
        for daemon in self.daemons()[1:]:
            daemon.start()

    def stop(self) -> None:
        """Kill everything on the node and undo its changes to the host; does nothing if there is no node."""
        self.namespaces.close()
        terminate(processes_of(self.folder), grace=0.5)
        network.remove(self.folder / "switches.json")
        cgroups.remove()

    def _configure(self, plan: Plan, identities: Identities) -> None:
        kubelet = identities.client(f"system:node:{node_config.NODE}", ["system:nodes"])
        proxy = identities.client("system:kube-proxy")
        served = identities.authority.for_server("kubelet", [plan.node], [node_config.NODE])
        host = Path("/run/systemd/resolve/resolv.conf")
        host = host if host.exists() else Path("/etc/resolv.conf")
        resolver = self.folder / "resolv.conf"
        resolver.write_text(node_config.resolv_conf(host.read_text() if host.exists() else ""))
        authority = identities.authority.certificate
        files = {
            "containerd.toml": node_config.containerd(self.folder, _cni_programs()),
            "cni/10-stemyard.conflist": node_config.cni(plan, self.folder),
            "kubelet.json": node_config.kubelet(plan, authority, served.certificate, served.key, resolver),
            "kube-proxy.json": node_config.kube_proxy(plan, proxy),
            "kubelet.kubeconfig": kubelet.read_text(),
            "address": plan.node,
        }
        for name, content in files.items():
            write(self.folder / name, content)

    def has_upstream_dns(self) -> bool:
        """Return whether the host has a name server that pods can reach."""
        return bool((self.folder / "resolv.conf").read_text())

    def _address(self) -> str:
        return (self.folder / "address").read_text()

    def _runtime_answers(self) -> bool:
        try:
            self.namespaces.run(["ctr", "--address", node_config.CONTAINERD_SOCKET, "version"], timeout=10)
        except CommandFailedError:
            return False
        return True


def _cni_programs() -> Path:
    for folder in CNI_FOLDERS:
        if (folder / "ptp").exists() and (folder / "host-local").exists():
            return folder
    raise MissingPrerequisiteError("Install the CNI plugins (Debian: apt-get install containernetworking-plugins).")
