"""Rules and interfaces on the machine."""

from localcluster.addresses import Plan
from localcluster.network import masquerade, pod_links

PLAN = Plan("10.88.0.0/16", "10.96.0.0/16")


def test_only_packets_that_leave_the_cluster_are_masqueraded() -> None:
    rules = masquerade(PLAN)
    assert f"ip saddr {PLAN.pod_range} ip daddr != {{ 10.88.0.0/16, 10.96.0.0/16 }} masquerade" in rules


def test_pod_interfaces_are_told_from_those_of_others() -> None:
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "10.88.0.7", "dev": "veth0a"},
        {"dst": "10.88.0.8", "dev": "eth1"},
        {"dst": "10.99.0.7", "dev": "veth0b"},
        {"dst": "10.88.0.0/24", "dev": "veth0c"},
        {"dst": "10.88.1.9", "dev": "veth0d"},
    ]
    assert pod_links(routes, PLAN) == ["veth0a", "veth0d"]
