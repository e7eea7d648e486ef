"""Configuration files of the node: containerd, CNI, kubelet, kube-proxy; pure functions of addresses and paths."""

import json
from pathlib import Path

from localcluster.addresses import Plan

NODE = "stemyard"
PAUSE_IMAGE = "localhost/stemyard/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CGROUP = "stemyard"


def containerd(folder: Path, cni_programs: Path) -> str:
    """Return containerd's configuration (TOML); its state is in a private directory of the node's namespaces.

    `restrict_oom_score_adj` is for hosts without CAP_SYS_RESOURCE, where every sandbox would fail otherwise.
    """
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    return "\n".join([
        "version = 2",
        f"root = {json.dumps(str(folder / 'containerd'))}",
        'state = "/run/containerd"',
        'disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", '
        '"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]',
        "[grpc]",
        f'address = "{CONTAINERD_SOCKET}"',
        '[plugins."io.containerd.internal.v1.opt"]',
        f"path = {json.dumps(str(folder / 'opt'))}",
        f"{cri}]",
        "restrict_oom_score_adj = true",
        f'sandbox_image = "{PAUSE_IMAGE}"',
        f"{cri}.containerd]",
        'snapshotter = "overlayfs"',
        'default_runtime_name = "runc"',
        f"{cri}.containerd.runtimes.runc]",
        'runtime_type = "io.containerd.runc.v2"',
        f"{cri}.containerd.runtimes.runc.options]",
        "SystemdCgroup = false",
        f"{cri}.cni]",
        f"bin_dir = {json.dumps(str(cni_programs))}",
        f"conf_dir = {json.dumps(str(folder / 'cni'))}",
        "",
    ])  # fmt: skip


def cni(plan: Plan, folder: Path) -> str:
    """Return the CNI configuration: one routed veth pair per pod, so that all traffic passes kube-proxy's rules."""
    ranges = [[{"subnet": plan.pod_range}]]
    ipam = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugin = {"type": "ptp", "mtu": plan.mtu, "ipMasq": False, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": "stemyard", "plugins": [plugin]}, indent=1)


def kubelet(plan: Plan, authority: Path, certificate: Path, key: Path, resolv_conf: Path) -> str:
    """Return kubelet's configuration: cgroup v1 or v2, and no image garbage collection, since there is no registry."""
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.node,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(authority)}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "clusterDNS": [plan.dns],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "healthzPort": 0,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "registerWithTaints": [],
        "resolvConf": str(resolv_conf),
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }
    return json.dumps(document, indent=1)


def kube_proxy(plan: Plan, kubeconfig: Path) -> str:
    """Return kube-proxy's configuration: nftables, NodePorts on the node's address only, kernel limits unchanged."""
    unlimited = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE,
        "clusterCIDR": plan.pod_range,
        "nodePortAddresses": [f"{plan.node}/32"],
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": unlimited,
        "bindAddress": plan.node,
        "healthzBindAddress": f"{plan.node}:10256",
        "metricsBindAddress": f"{plan.node}:10249",
        "oomScoreAdj": 0,
    }
    return json.dumps(document, indent=1)


def resolv_conf(host: str) -> str:
    """Return a resolv.conf of the host's name servers without loopback addresses, which pods cannot reach."""
    lines = [line.split() for line in host.splitlines()]
    servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    reachable = [server for server in servers if not server.startswith("127.") and server != "::1"]
    return "".join(f"nameserver {server}\n" for server in reachable)
