"""The node's configuration files."""

import json
import tomllib
from pathlib import Path

from localcluster import node_config
from localcluster.addresses import Plan

PLAN = Plan("10.88.0.0/16", "10.96.0.0/16", mtu=1400)


def test_containerd_keeps_everything_in_its_folder_or_its_namespaces() -> None:
    config = tomllib.loads(node_config.containerd(Path('/state/"odd" folder'), Path("/usr/lib/cni")))
    assert config["root"] == '/state/"odd" folder/containerd'
    assert config["state"].startswith("/run/containerd")
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == node_config.PAUSE_IMAGE
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": '/state/"odd" folder/cni'}


def test_pods_get_addresses_from_their_range_and_packets_that_fit() -> None:
    (plugin,) = json.loads(node_config.cni(PLAN, Path("/state")))["plugins"]
    assert plugin["mtu"] == 1400
    assert plugin["ipam"]["ranges"] == [[{"subnet": PLAN.pod_range}]]
    assert plugin["ipMasq"] is False, "masquerading is the node's own table: nothing to clean up per pod"


def test_kubelet_takes_either_control_group_version_and_lets_no_stranger_in() -> None:
    config = json.loads(node_config.kubelet(PLAN, Path("/ca"), Path("/crt"), Path("/key"), Path("/resolv.conf")))
    assert config["failCgroupV1"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"]["mode"] == "Webhook"
    assert config["clusterDNS"] == [PLAN.dns]


def test_node_ports_answer_at_the_nodes_address_only() -> None:
    config = json.loads(node_config.kube_proxy(PLAN, Path("/kubeconfig")))
    assert config["mode"] == "nftables"
    assert config["nodePortAddresses"] == [f"{PLAN.node}/32"]


def test_name_servers_on_the_machines_loopback_are_left_out() -> None:
    machine = "# comment\nsearch lan\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 9.9.9.9\noptions edns0\n"
    assert node_config.resolv_conf(machine) == "nameserver 9.9.9.9\n"
    assert node_config.resolv_conf("nameserver 127.0.0.1\n") == ""
