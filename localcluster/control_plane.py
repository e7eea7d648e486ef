"""A Kubernetes control plane without a node: etcd, kube-apiserver, optionally the controller manager and scheduler."""

import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from localcluster import binaries, server_flags
from localcluster.daemon import Daemon, processes_of, terminate
from localcluster.errors import NotReadyError
from localcluster.folders import here
from localcluster.identities import Identities
from localcluster.kube_api import KubeApi

READY_LIMIT = 90.0
_PORTS = range(20_000, 30_000)
"""Above the ports of Kubernetes' own servers, below those of NodePorts and of Linux's outgoing connections."""


class ControlPlane:
    """One control plane in one folder; several may run at once. As a context manager it stops when its process ends.

    Args:
        folder: holds its certificates, data, pid files and logs; created if missing.
        controllers: also run kube-controller-manager (service accounts, garbage collection, Jobs, namespaces).
        scheduler: also run kube-scheduler.
        address: IP address the API server listens on and advertises.
        port: TCP port of the API server; 0 picks a free one.
        services: CIDR of ClusterIPs; `service_address` is its first address.
        apiserver_flags, controller_flags: appended to the command lines, so that they take precedence.
        program: the `node` binary; by default the cached one, compiled if missing.
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
        """A client with the administrator's permissions."""
        return self.identities.api

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig with a client certificate of any user and groups, whose permissions RBAC decides."""
        return self.identities.client(user, groups)

    def kubeconfig_of_account(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a service account's permissions; the account need not exist."""
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        return self.kubeconfig_for(f"system:serviceaccount:{namespace}:{name}", groups)

    def token_for(
        self, namespace: str, service_account: str, audiences: Sequence[str] = (), seconds: int = 3600
    ) -> str:
        """Request a token of an existing service account for audiences (none: the API server's own)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        spec = {"audiences": list(audiences), "expirationSeconds": seconds}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.api.post(path, request)["status"]["token"])

    def start(self) -> None:
        """Start the servers that are not running and wait until they are ready.

        Raises:
            NotReadyError: a server died or was not ready in time; the message names its log.
        """
        self.identities.create(self._address, self._port or free_port(), self._service_address)
        etcd, apiserver, *others = self.daemons()
        etcd.start()
        apiserver.start()
        self._wait([etcd, apiserver])
        for daemon in others:
            daemon.start()

    def stop(self) -> None:
        """Stop every server of this folder, with or without a pid file."""
        if self._watchdog is not None:
            self._watchdog.communicate()
            self._watchdog = None
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            Daemon(name, (), self.folder).stop(grace=2.0)
        terminate(processes_of(self.folder), grace=2.0)

    def daemons(self) -> list[Daemon]:
        """Return the servers in start order."""
        program, files = self._program or binaries.control_plane_binary(here()), self.identities.files()
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
                server.check_running()
            if time.monotonic() > deadline:
                raise NotReadyError(f"kube-apiserver was not ready within {READY_LIMIT:.0f} s (log: {servers[-1].log})")
            time.sleep(0.05)

    def _watch(self) -> None:
        # Servers must not outlive a killed test run: the watchdog kills them when our end of its pipe closes.
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))]
        pids = [str(pid) for daemon in self.daemons() if (pid := daemon.pid())]
        self._watchdog = subprocess.Popen([*command, *pids], stdin=subprocess.PIPE, start_new_session=True)


def free_port() -> int:
    """Return a TCP port that is free at the moment.

    Not one that the system gives to outgoing connections: one of these could take it before a server listens there.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise NotReadyError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free")
