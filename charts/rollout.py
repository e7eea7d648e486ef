"""Explains why a Deployment is not ready; pure functions of Kubernetes objects."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""

_STARTING: Final = {"ContainerCreating": "its container is being created", "PodInitializing": "it is being initialised"}


def rollout(deployments: Iterable[Object], pods: Iterable[Object]) -> dict[str, str]:
    """Return why each Deployment is not ready, by name; ready ones are omitted.

    Args:
        deployments: those of one release.
        pods: those of the same namespace; a pod belongs to the Deployment whose selector matches.
    """
    reasons = {}
    pods = list(pods)
    for deployment in deployments:
        if not is_ready(deployment):
            selector = deployment["spec"]["selector"]["matchLabels"]
            own = [pod for pod in pods if _matches(pod, selector)]
            reasons[deployment["metadata"]["name"]] = _reason(deployment, own)
    return reasons


def is_ready(deployment: Object) -> bool:
    """Return whether every replica is updated and available."""
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status", {})
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = (status.get(name, 0) for name in ("updatedReplicas", "availableReplicas"))
    return bool(observed and status.get("replicas", 0) == wanted and all(count == wanted for count in counts))


def _matches(pod: Object, labels: Mapping[str, str]) -> bool:
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
        return "an old pod is terminating"
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"it cannot be scheduled: {condition.get('message', condition.get('reason', ''))}"
        if condition["type"] == "Ready" and condition["status"] == "True":
            return None
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    reasons = [reason for container in containers if (reason := _container_reason(container))]
    return reasons[0] if reasons else "it waits to be scheduled"


def _container_reason(container: Object) -> str | None:
    state = container.get("state", {})
    if "waiting" in state:
        reason = state["waiting"].get("reason", "")
        if reason in _STARTING:
            return _STARTING[reason]
        return f"{reason}: {_last_termination(container) or state['waiting'].get('message', '')}".rstrip(": ")
    if container.get("ready"):
        return None
    if "terminated" in state:
        return f"it exited with code {state['terminated'].get('exitCode')}"
    if container.get("restartCount"):
        return f"restarted {container['restartCount']} times: {_last_termination(container)}".rstrip(": ")
    return "it is running, but not ready"


def _last_termination(container: Object) -> str:
    ended = container.get("lastState", {}).get("terminated")
    if not ended:
        return ""
    message = (ended.get("message") or "").strip()
    return message or f"{ended.get('reason', 'exited')}, exit code {ended.get('exitCode')}"
