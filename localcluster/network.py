"""The node's place in the machine's network: an interface for its address, masquerading for pods, kernel switches."""

import contextlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localcluster.addresses import BRIDGE, Plan
from localcluster.errors import CommandFailedError
from localcluster.programs import find, run

TABLE = "stemyard"
# What forwarding needs and what kubelet sets; the values found are put back by `down`.
SWITCHES = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
SYSTEM = Path("/proc/sys")


def masquerade(plan: Plan) -> str:
    """nftables rules under which pods reach the world as the machine itself."""
    inside = f"{{ {plan.pods}, {plan.services} }}"
    return (
        f"table ip {TABLE} {{\nchain postrouting {{\ntype nat hook postrouting priority srcnat;\n"
        f"ip saddr {plan.pod_range} ip daddr != {inside} masquerade\n}}\n}}\n"
    )


def create(plan: Plan, record: Path) -> None:
    """Give the node its address, let pods out, and switch forwarding on; `record` keeps the switches' old values."""
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(_switches()))
    (SYSTEM / "net/ipv4/ip_forward").write_text("1")
    if not _exists():
        # An empty bridge is an interface every kernel has; it only carries the address.
        run(["ip", "link", "add", BRIDGE, "type", "bridge"], timeout=10)
    run(["ip", "address", "replace", f"{plan.node}/32", "dev", BRIDGE], timeout=10)
    run(["ip", "link", "set", BRIDGE, "up"], timeout=10)
    _forget_table(TABLE, "ip")
    run(["nft", "-f", "-"], timeout=10, text=masquerade(plan))


def remove(record: Path) -> None:
    """Undo `create` and what kube-proxy left; safe when nothing is there."""
    if _exists():
        run(["ip", "link", "delete", BRIDGE], timeout=10)
        # Only a cluster of ours has that interface, so the proxy's tables are its own.
        for family in ("ip", "ip6"):
            _forget_table("kube-proxy", family)
    _forget_table(TABLE, "ip")
    if record.exists():
        for switch, value in json.loads(record.read_text()).items():
            with contextlib.suppress(OSError):
                (SYSTEM / switch).write_text(value)


def remove_pod_links(plan: Plan) -> None:
    """Remove the host's ends of the pods' interfaces: a dead pod's dying connections would keep them for minutes."""
    for device in pod_links(json.loads(run(["ip", "-json", "-4", "route", "show"], timeout=10)), plan):
        with contextlib.suppress(CommandFailedError):
            run(["ip", "link", "delete", device], timeout=10)


def pod_links(routes: Sequence[Mapping[str, Any]], plan: Plan) -> list[str]:
    """The interfaces of a routing table (`ip -json route`) that lead to one pod each."""
    pods = ipaddress.IPv4Network(plan.pod_range)
    ours = [route for route in routes if str(route.get("dev", "")).startswith("veth") and "/" not in route["dst"]]
    return [str(route["dev"]) for route in ours if ipaddress.IPv4Address(route["dst"]) in pods]


def _switches() -> dict[str, str]:
    present = [name for name in SWITCHES if (SYSTEM / name).exists()]
    return {name: (SYSTEM / name).read_text().strip() for name in present}


def _exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def _forget_table(name: str, family: str) -> None:
    if find("nft"):
        with contextlib.suppress(CommandFailedError):
            run(["nft", "delete", "table", family, name], timeout=10)
