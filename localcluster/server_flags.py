"""Command lines of the control plane's servers; pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# etcd's Unix sockets are files named `localhost:<n>` in the working directory, which it shares with the API server.
ETCD_CLIENT = "unix://localhost:1"
ETCD_PEER = "unix://localhost:2"
ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class ControlPlaneFiles:
    """Certificates and keys that the servers read."""

    authority: Path
    server_certificate: Path
    server_key: Path
    kubelet_client_certificate: Path
    kubelet_client_key: Path
    signing_key: Path
    verification_key: Path
    proxy_client_certificate: Path
    proxy_client_key: Path


def etcd(binary: Path, data: Path) -> list[str]:
    """Return etcd's command line: Unix sockets, and no fsync, since the data is discarded with the cluster."""
    return [
        str(binary), "etcd", "--name=default", f"--data-dir={data}", "--log-level=warn", "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD_CLIENT}", f"--advertise-client-urls={ETCD_CLIENT}",
        f"--listen-peer-urls={ETCD_PEER}", f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
        "--auto-compaction-mode=periodic", "--auto-compaction-retention=10m",
    ]  # fmt: skip


def kube_apiserver(
    binary: Path, files: ControlPlaneFiles, address: str, port: int, services: str, extra: Sequence[str]
) -> list[str]:
    """Return kube-apiserver's command line: TLS, RBAC, the node authorizer and projected service account tokens."""
    return [
        str(binary), "kube-apiserver", f"--etcd-servers={ETCD_CLIENT}",
        f"--bind-address={address}", f"--advertise-address={address}", f"--secure-port={port}",
        f"--client-ca-file={files.authority}",
        f"--tls-cert-file={files.server_certificate}", f"--tls-private-key-file={files.server_key}",
        f"--kubelet-client-certificate={files.kubelet_client_certificate}",
        f"--kubelet-client-key={files.kubelet_client_key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        f"--service-account-issuer={ISSUER}", f"--service-account-key-file={files.verification_key}",
        f"--service-account-signing-key-file={files.signing_key}",
        f"--service-cluster-ip-range={services}",
        f"--requestheader-client-ca-file={files.authority}", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={files.proxy_client_certificate}",
        f"--proxy-client-key-file={files.proxy_client_key}",
        "--profiling=false", *extra,
    ]  # fmt: skip


def kube_controller_manager(
    binary: Path, files: ControlPlaneFiles, kubeconfig: Path, extra: Sequence[str]
) -> list[str]:
    """Return kube-controller-manager's command line: one replica without leader election or a serving port."""
    return [
        str(binary), "kube-controller-manager", f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
        "--secure-port=0", "--leader-elect=false", "--use-service-account-credentials=true",
        f"--root-ca-file={files.authority}", f"--service-account-private-key-file={files.signing_key}",
        "--kube-api-qps=300", "--kube-api-burst=600", "--concurrent-job-syncs=50", "--profiling=false", *extra,
    ]  # fmt: skip


def kube_scheduler(binary: Path, kubeconfig: Path) -> list[str]:
    """Return kube-scheduler's command line: one replica without leader election or a serving port."""
    return [
        str(binary), "kube-scheduler", f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
        "--secure-port=0", "--leader-elect=false", "--profiling=false",
    ]  # fmt: skip
