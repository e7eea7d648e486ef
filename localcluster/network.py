"""The node's network on the host: an interface for its address, masquerading for pods, kernel parameters."""

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
# Parameters that forwarding needs or kubelet sets; `down` restores their previous values.
SYSCTLS = (
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
    """Return nftables rules that masquerade traffic from pods to addresses outside the cluster."""
    inside = f"{{ {plan.pods}, {plan.services} }}"
    return (
        f"table ip {TABLE} {{\nchain postrouting {{\ntype nat hook postrouting priority srcnat;\n"
        f"ip saddr {plan.pod_range} ip daddr != {inside} masquerade\n}}\n}}\n"
    )


def create(plan: Plan, record: Path) -> None:
    """Create the node's interface and masquerading, and enable forwarding; `record` keeps the old kernel parameters."""
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(_sysctls()))
    (SYSTEM / "net/ipv4/ip_forward").write_text("1")
    if not _exists():
        # A bridge without ports, which every kernel supports, carries the address.
        run(["ip", "link", "add", BRIDGE, "type", "bridge"], timeout=10)
    run(["ip", "address", "replace", f"{plan.node}/32", "dev", BRIDGE], timeout=10)
    run(["ip", "link", "set", BRIDGE, "up"], timeout=10)
    _delete_table(TABLE, "ip")
    run(["nft", "-f", "-"], timeout=10, text=masquerade(plan))


def remove(record: Path) -> None:
    """Undo `create` and remove kube-proxy's tables; does nothing if there are none."""
    if _exists():
        run(["ip", "link", "delete", BRIDGE], timeout=10)
        # Only this cluster has that interface, so the kube-proxy tables belong to it.
        for family in ("ip", "ip6"):
            _delete_table("kube-proxy", family)
    _delete_table(TABLE, "ip")
    if record.exists():
        for name, value in json.loads(record.read_text()).items():
            with contextlib.suppress(OSError):
                (SYSTEM / name).write_text(value)


def remove_pod_links(plan: Plan) -> None:
    """Remove the host ends of the pods' interfaces, which closing connections would otherwise keep for minutes."""
    for device in pod_links(json.loads(run(["ip", "-json", "-4", "route", "show"], timeout=10)), plan):
        with contextlib.suppress(CommandFailedError):
            run(["ip", "link", "delete", device], timeout=10)


def pod_links(routes: Sequence[Mapping[str, Any]], plan: Plan) -> list[str]:
    """Return the interfaces in a routing table (`ip -json route`) that lead to a single pod."""
    pods = ipaddress.IPv4Network(plan.pod_range)
    links = [route for route in routes if str(route.get("dev", "")).startswith("veth") and "/" not in route["dst"]]
    return [str(route["dev"]) for route in links if ipaddress.IPv4Address(route["dst"]) in pods]


def _sysctls() -> dict[str, str]:
    present = [name for name in SYSCTLS if (SYSTEM / name).exists()]
    return {name: (SYSTEM / name).read_text().strip() for name in present}


def _exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def _delete_table(name: str, family: str) -> None:
    if find("nft"):
        with contextlib.suppress(CommandFailedError):
            run(["nft", "delete", "table", family, name], timeout=10)
