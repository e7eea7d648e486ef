"""Decides what NetworkPolicies let through, as the Kubernetes API reference describes them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from tests.chart.rendered import Object

_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or an address outside the cluster when it has no namespace."""

    address: str = "192.0.2.250"
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def passes(policies: Sequence[Object], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is let out of its source and into its target."""
    out = _allowed(policies, "Egress", source, target, port, protocol)
    return out and _allowed(policies, "Ingress", target, source, port, protocol)


def selected(policies: Sequence[Object], pod: End) -> list[Object]:
    """Return the policies that hold for a pod."""
    return [policy for policy in policies if _selects(policy, pod)]


def _allowed(policies: Sequence[Object], direction: str, isolated: End, other: End, port: int, protocol: str) -> bool:
    chosen = [policy for policy in selected(policies, isolated) if direction in policy["spec"]["policyTypes"]]
    rules = (rule for policy in chosen for rule in policy["spec"].get(direction.lower(), []))
    return not chosen or any(_rule(rule, isolated, other, port, protocol) for rule in rules)


def _selects(policy: Object, pod: End) -> bool:
    if pod.namespace != policy["metadata"]["namespace"]:
        return False
    return _matches(policy["spec"]["podSelector"], pod.labels)


def _rule(rule: Object, isolated: End, other: End, port: int, protocol: str) -> bool:
    peers, ports = rule.get("to", rule.get("from")), rule.get("ports")
    known = ports is None or {"port": port, "protocol": protocol} in ports
    return known and (peers is None or any(_peer(peer, isolated, other) for peer in peers))


def _peer(peer: Object, isolated: End, other: End) -> bool:
    if "ipBlock" in peer:
        return _within(peer["ipBlock"], other.address)
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        near = _matches(peer["namespaceSelector"], {_NAME: other.namespace})
    else:
        near = isolated.namespace == other.namespace
    return near and _matches(peer.get("podSelector", {}), other.labels)


def _within(block: Object, address: str) -> bool:
    ip = ip_address(address)
    return ip in ip_network(block["cidr"]) and not any(ip in ip_network(one) for one in block.get("except", []))


def _matches(selector: Object, labels: Mapping[str, str]) -> bool:
    return all(_requirements(selector, labels))


def _requirements(selector: Object, labels: Mapping[str, str]) -> Iterator[bool]:
    for key, value in selector.get("matchLabels", {}).items():
        yield labels.get(key) == value
    for one in selector.get("matchExpressions", []):
        if one["operator"] not in {"In", "Exists"}:
            raise ValueError(f"the chart does not use {one['operator']}")
        yield one["key"] in labels and (one["operator"] == "Exists" or labels[one["key"]] in one["values"])
