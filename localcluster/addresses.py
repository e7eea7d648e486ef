"""The cluster's addresses: private networks that do not overlap the host's routes, and the addresses within them."""

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass

from localcluster.errors import MissingPrerequisiteError
from localcluster.programs import run

Network = ipaddress.IPv4Network

BRIDGE = "stemyard0"
# Pairs of pod and service CIDRs, tried in this order.
CANDIDATES = (
    ("10.88.0.0/16", "10.96.0.0/16"),
    ("10.188.0.0/16", "10.196.0.0/16"),
    ("172.28.0.0/16", "172.29.0.0/16"),
    ("192.168.192.0/20", "192.168.208.0/20"),
)


@dataclass(frozen=True)
class Plan:
    """The cluster's networks.

    Attributes:
        pods: CIDR of the pods and the node.
        services: CIDR of ClusterIPs.
        mtu: MTU in bytes of the host's default route.
    """

    pods: str
    services: str
    mtu: int = 1500

    @property
    def node(self) -> str:
        """Address of the node on its own interface, on which NodePorts and the API server listen."""
        return str(Network(self.pods)[-2])

    @property
    def pod_range(self) -> str:
        """CIDR that pods get addresses from, a part of `pods` that does not contain the node's address."""
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
    """Return the first pair of networks that overlaps none of the host's routes (CIDRs or addresses).

    Raises:
        MissingPrerequisiteError: every pair overlaps a route.
    """
    taken = [Network(route, strict=False) for route in routes]
    for pods, services in CANDIDATES:
        if not any(Network(each).overlaps(route) for each in (pods, services) for route in taken):
            return Plan(pods, services, mtu)
    tried = ", ".join(f"{pods} and {services}" for pods, services in CANDIDATES)
    raise MissingPrerequisiteError(
        f"This machine has routes into every candidate network ({tried}); remove the routes into one of these pairs."
    )


def of_this_machine() -> Plan:
    """Return a plan that fits the host's routing table."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show"], timeout=10))
    links = {link["ifname"]: int(link["mtu"]) for link in json.loads(run(["ip", "-json", "link", "show"], timeout=10))}
    defaults = [route["dev"] for route in routes if route["dst"] == "default" and "dev" in route]
    mtu = links.get(defaults[0], 1500) if defaults else 1500
    return choose([route["dst"] for route in routes if route["dst"] != "default"], mtu)
