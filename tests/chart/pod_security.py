"""What the Pod Security level `restricted` forbids, after Kubernetes' Pod Security Standards."""

from collections.abc import Iterator
from typing import Final

from tests.chart.rendered import Object

_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)


def faults(pod: Object) -> list[str]:
    """What the level would refuse in a pod's spec; nothing for a pod that passes."""
    everything = [*pod.get("initContainers", []), *pod["containers"]]
    return [*_pod_faults(pod), *(fault for one in everything for fault in _container_faults(pod, one))]


def _pod_faults(pod: Object) -> Iterator[str]:
    for shared in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(shared):
            yield shared
    for volume in pod.get("volumes", []):
        if not _VOLUMES & volume.keys():
            yield f"volume {volume['name']}"


def _container_faults(pod: Object, container: Object) -> Iterator[str]:
    name, own = container["name"], container.get("securityContext", {})
    effective = {**pod.get("securityContext", {}), **own}
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        yield f"{name}: runAsNonRoot"
    if effective.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield f"{name}: seccompProfile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name}: hostPort"
