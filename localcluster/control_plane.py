"""A Kubernetes control plane without a node: etcd, kube-apiserver, on request the controller manager and scheduler."""

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from localcluster import binaries, server_flags
from localcluster.daemon import Daemon, end, marked
from localcluster.errors import NotReadyError
from localcluster.folders import here
from localcluster.identities import Identities
from localcluster.kube_api import KubeApi

READY_LIMIT = 90.0


class ControlPlane:
    """One control plane in one folder; several may run at once. As a context manager it ends with its process.

    Args:
        folder: keeps its certificates, data, pid files and logs; made when absent.
        controllers: also run kube-controller-manager (service accounts, garbage collection, Jobs, namespaces).
        scheduler: also run kube-scheduler.
        address: IP address the API server listens on and advertises.
        port: TCP port of the API server; 0 picks a free one.
        services: CIDR of ClusterIPs; `service_address` is its first address.
        apiserver_flags, controller_flags: added at the end of the command lines, where they win.
        program: the `node` binary; taken from the cache, or compiled, when not given.
    """

    def __init__(
        self,
        folder: Path,
        *,
        controllers: bool = False,
        scheduler: bool = False,
        address: str = "127.0.0.1",
        port: int = 0,
        services: str = "10.96.0.0/16",
        service_address: str = "10.96.0.1",
        apiserver_flags: Sequence[str] = (),
        controller_flags: Sequence[str] = (),
        program: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.identities = Identities(self.folder)
        self._controllers, self._scheduler = controllers, scheduler
        self._address, self._port = address, port
        self._services, self._service_address = services, service_address
        self._apiserver_flags, self._controller_flags = apiserver_flags, controller_flags
        self._program = program
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            self._watch()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def server(self) -> str:
        """The API server's address, `https://host:port`."""
        return self.identities.server

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator (group system:masters)."""
        return self.identities.admin

    @property
    def api(self) -> KubeApi:
        """A client with the administrator's rights."""
        return self.identities.api

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Kubeconfig of any user and groups, by client certificate; what they may do is up to RBAC."""
        return self.identities.client(user, groups)

    def kubeconfig_of_account(self, namespace: str, name: str) -> Path:
        """Kubeconfig with a service account's rights; the account need not exist."""
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        return self.kubeconfig_for(f"system:serviceaccount:{namespace}:{name}", groups)

    def token_for(
        self, namespace: str, service_account: str, audiences: Sequence[str] = (), seconds: int = 3600
    ) -> str:
        """A service account's token for these audiences (none: the API server itself); the account must exist."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        spec = {"audiences": list(audiences), "expirationSeconds": seconds}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.api.post(path, request)["status"]["token"])

    def start(self) -> None:
        """Start what does not run yet and wait until it is ready.

        Raises:
            NotReadyError: a server died, or was not ready in time; its log is named.
        """
        self.identities.create(self._address, self._port or free_port(), self._service_address)
        etcd, apiserver, *others = self.daemons()
        etcd.start()
        apiserver.start()
        self._wait([etcd, apiserver])
        for daemon in others:
            daemon.start()

    def stop(self) -> None:
        """Stop every server of this folder, whether or not its pid file still knows it."""
        if self._watchdog is not None:
            self._watchdog.communicate()
            self._watchdog = None
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            Daemon(name, (), self.folder).stop(grace=2.0)
        end(marked(self.folder), grace=2.0)

    def daemons(self) -> list[Daemon]:
        """Its servers, in the order in which they are started."""
        program, files = self._program or binaries.cluster_binaries(here()) / "node", self.identities.files()
        port = int(self.server.rpartition(":")[2])
        apiserver = server_flags.kube_apiserver(
            program, files, self._address, port, self._services, self._apiserver_flags
        )
        lines = {"etcd": server_flags.etcd(program, self.folder / "etcd"), "kube-apiserver": apiserver}
        if self._controllers:
            config = self.folder / "system-kube-controller-manager.kubeconfig"
            lines["kube-controller-manager"] = server_flags.kube_controller_manager(
                program, files, config, self._controller_flags
            )
        if self._scheduler:
            lines["kube-scheduler"] = server_flags.kube_scheduler(
                program, self.folder / "system-kube-scheduler.kubeconfig"
            )
        return [Daemon(name, argv, self.folder) for name, argv in lines.items()]

    def _wait(self, servers: Sequence[Daemon]) -> None:
        deadline = time.monotonic() + READY_LIMIT
        while not self.api.is_ready():
            for server in servers:
                server.require()
            if time.monotonic() > deadline:
                raise NotReadyError(f"kube-apiserver was not ready within {READY_LIMIT:.0f} s (log: {servers[-1].log})")
            time.sleep(0.05)

    def _watch(self) -> None:
        # Servers must not outlive a test run that was killed: the watchdog sees our end of its pipe close.
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))]
        pids = [str(pid) for daemon in self.daemons() if (pid := daemon.pid())]
        self._watchdog = subprocess.Popen([*command, *pids], stdin=subprocess.PIPE, start_new_session=True)


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
