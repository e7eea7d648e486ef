"""Everything that the cluster says about one separation; what may not be read is noted, and ends nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

from stemyard_kubectl.cluster import Cluster, Json
from stemyard_kubectl.errors import ClusterError, MissingError
from stemyard_kubectl.places import places
from stemyard_kubectl.separations import Separation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """An event about the separation, its Job or its pod."""

    kind: str
    """Kind of the object it is about."""
    last: datetime
    count: int
    is_warning: bool
    reason: str
    message: str

    @classmethod
    def of(cls, event: Json) -> Self | None:
        """Return an event, in the form of core/v1 or of events.k8s.io/v1; None without a time."""
        series = event.get("series") or {}
        times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
        at = next((time for time in (*times, event["metadata"].get("creationTimestamp")) if time), None)
        if at is None:
            return None
        return cls(
            kind=event["involvedObject"].get("kind", ""),
            last=datetime.fromisoformat(at),
            count=int(series.get("count") or event.get("count") or 1),
            is_warning=event.get("type") == "Warning",
            reason=event.get("reason") or "",
            message=event.get("message") or "",
        )


@dataclass(slots=True)
class Facts:
    """What is known of a separation.

    Attributes:
        separation: the SeparationJob.
        job: its current Job, or the last one.
        pod: the newest pod of that Job.
        place: its place in the queue, and how many wait with it; None if it does not wait.
        separating: separations of the namespace that are separated now.
        events: about all three, oldest first.
        log: last lines of the pod's log.
        notes: by the name of a part, why it is not shown.
    """

    separation: Separation
    job: dict[str, Any] | None = None
    pod: dict[str, Any] | None = None
    place: tuple[int, int] | None = None
    separating: int = 0
    events: list[Event] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def facts_about(cluster: Cluster, name: str, log_lines: int) -> Facts:
    """Return what the cluster says about a separation.

    Raises:
        ClusterError: the SeparationJob itself cannot be read.
    """
    found = Facts(Separation.of(cluster.separation(name)))
    status = found.separation.status
    if status.job:
        job_name = status.job
        found.job = _read(found, "job", lambda: cluster.job(job_name))
    if status.pod:
        pod_name = status.pod
        found.pod = _read(found, "pod", lambda: cluster.pod(pod_name))
    if found.separation.waits:
        _add_place(found, _read(found, "queue", lambda: list(map(Separation.of, cluster.separations()))) or [])
    names = [name, *(known for known in (status.job, status.pod) if known)]
    events = _read(found, "events", lambda: [event for one in names for event in cluster.events(one)]) or []
    found.events = sorted((one for each in events if (one := Event.of(each)) is not None), key=lambda one: one.last)
    if found.pod is not None and log_lines:
        pod_name = found.pod["metadata"]["name"]
        found.log = _read(found, "log", lambda: list(cluster.log(pod_name, log_lines))) or []
    return found


def _read(found: Facts, part: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except MissingError:
        found.notes[part] = "it is gone"
    except ClusterError as error:
        found.notes[part] = str(error)
    return None


def _add_place(found: Facts, separations: list[Separation]) -> None:
    known = places(separations)
    own = found.separation
    mine = known.get((own.namespace, own.name))
    alike = [one for one in separations if one.waits and (one.phase == own.phase)]
    found.place = None if mine is None else (mine, len(alike))
    found.separating = sum(one.phase == "Separating" for one in separations)
