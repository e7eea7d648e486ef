"""SeparationJobs for tests."""

from typing import Any

from stemyard_kubectl.separations import Separation


def separation(
    name: str = "song",
    phase: str | None = None,
    *,
    namespace: str = "music",
    age: int = 0,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> Separation:
    """A SeparationJob; the older, the greater its age in minutes."""
    resource = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "creationTimestamp": f"2026-01-01T10:{59 - age:02}:00Z",
        },
        "spec": {"source": {"searchQuery": name}, **(spec or {})},
        "status": {**({"phase": phase, "run": 1} if phase else {}), **status},
    }
    return Separation.of(resource)


def condition(kind: str, reason: str, status: str = "False", message: str = "") -> dict[str, Any]:
    at = "2026-01-01T11:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}
