"""The cluster's addresses: private networks that the machine does not use itself, and who sits where in them."""

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass

from localcluster.errors import MissingPrerequisiteError
from localcluster.programs import run

Network = ipaddress.IPv4Network

BRIDGE = "stemyard0"
# Pairs of pod and service networks, tried in this order.
CANDIDATES = (
    ("10.88.0.0/16", "10.96.0.0/16"),
    ("10.188.0.0/16", "10.196.0.0/16"),
    ("172.28.0.0/16", "172.29.0.0/16"),
    ("192.168.192.0/20", "192.168.208.0/20"),
)


@dataclass(frozen=True)
class Plan:
    """Who sits where.

    Attributes:
        pods: CIDR of the cluster's own addresses.
        services: CIDR of ClusterIPs.
        mtu: largest packet in bytes on the machine's way out.
    """

    pods: str
    services: str
    mtu: int = 1500

    @property
    def node(self) -> str:
        """Address of the node on its own interface: NodePorts and the API server answer here."""
        return str(Network(self.pods)[-2])

    @property
    def pod_range(self) -> str:
        """The part of the pod network that pods get addresses from; the node's address lies outside it."""
        return str(next(Network(self.pods).subnets(new_prefix=22)))

    @property
    def api(self) -> str:
        """ClusterIP of the API server."""
        return str(Network(self.services)[1])

    @property
    def dns(self) -> str:
        """ClusterIP of the cluster's DNS."""
        return str(Network(self.services)[10])


def choose(routes: Iterable[str], mtu: int = 1500) -> Plan:
    """The first pair of networks that overlaps none of the machine's routes (CIDRs or addresses).

    Raises:
        MissingPrerequisiteError: every candidate is taken.
    """
    taken = [Network(route, strict=False) for route in routes]
    for pods, services in CANDIDATES:
        if not any(Network(each).overlaps(route) for each in (pods, services) for route in taken):
            return Plan(pods, services, mtu)
    tried = ", ".join(f"{pods} and {services}" for pods, services in CANDIDATES)
    raise MissingPrerequisiteError(
        f"This machine has routes into every network tried ({tried}); free one of these pairs."
    )


def of_this_machine() -> Plan:
    """A plan that fits the machine's routing table."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show"], timeout=10))
    links = {link["ifname"]: int(link["mtu"]) for link in json.loads(run(["ip", "-json", "link", "show"], timeout=10))}
    ways_out = [route["dev"] for route in routes if route["dst"] == "default" and "dev" in route]
    mtu = links.get(ways_out[0], 1500) if ways_out else 1500
    return choose([route["dst"] for route in routes if route["dst"] != "default"], mtu)
