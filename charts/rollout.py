"""Says in words why a Deployment is not ready yet; decides from objects as the API server gives them, does no I/O."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""

_ORDINARY: Final = {"ContainerCreating": "its container is being made", "PodInitializing": "it is being initialised"}


def rollout(deployments: Iterable[Object], pods: Iterable[Object]) -> dict[str, str]:
    """Return what is missing by Deployment name; nothing for those that are ready.

    Args:
        deployments: of one release.
        pods: of the same namespace; each is counted to the Deployment whose selector it matches.
    """
    waiting = {}
    present = list(pods)
    for deployment in deployments:
        if not is_ready(deployment):
            selector = deployment["spec"]["selector"]["matchLabels"]
            waiting[deployment["metadata"]["name"]] = _reason(
                deployment, [pod for pod in present if _is(pod, selector)]
            )
    return waiting


def is_ready(deployment: Object) -> bool:
    """Return whether every replica is of the newest template and ready."""
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status", {})
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = (status.get(name, 0) for name in ("updatedReplicas", "availableReplicas"))
    return bool(seen and status.get("replicas", 0) == wanted and all(count == wanted for count in counts))


def _is(pod: Object, labels: Mapping[str, str]) -> bool:
    own = pod["metadata"].get("labels", {})
    return all(own.get(name) == value for name, value in labels.items())


def _reason(deployment: Object, pods: list[Object]) -> str:
    reasons = [reason for pod in pods if (reason := pod_reason(pod))]
    if reasons:
        return "; ".join(dict.fromkeys(reasons))
    for condition in deployment.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", "its pods cannot be created"))
    return "its pods are being replaced" if pods else "no pod yet"


def pod_reason(pod: Object) -> str | None:
    """Return why a pod is not ready, or None when it is."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return "an old pod is ending"
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"no node takes it: {condition.get('message', condition.get('reason', ''))}"
        if condition["type"] == "Ready" and condition["status"] == "True":
            return None
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    reasons = [reason for container in containers if (reason := _container_reason(container))]
    return reasons[0] if reasons else "it waits for its node"


def _container_reason(container: Object) -> str | None:
    state = container.get("state", {})
    if "waiting" in state:
        reason = state["waiting"].get("reason", "")
        if reason in _ORDINARY:
            return _ORDINARY[reason]
        return f"{reason}: {_last_words(container) or state['waiting'].get('message', '')}".rstrip(": ")
    if container.get("ready"):
        return None
    if "terminated" in state:
        return f"it ended with exit code {state['terminated'].get('exitCode')}"
    if container.get("restartCount"):
        return f"restarted {container['restartCount']} times: {_last_words(container)}".rstrip(": ")
    return "it runs, and its readiness probe has not passed yet"


def _last_words(container: Object) -> str:
    ended = container.get("lastState", {}).get("terminated")
    if not ended:
        return ""
    said = (ended.get("message") or "").strip()
    return said or f"{ended.get('reason', 'ended')}, exit code {ended.get('exitCode')}"
