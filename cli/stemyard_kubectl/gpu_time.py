"""GPU time by profile: what separations held and what their networks used, as their statuses record it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stemyard_contract.separationjob import Phase
from stemyard_kubectl.separations import Separation


@dataclass(slots=True)
class ProfileTime:
    """What a profile's separations used in their last runs.

    Attributes:
        profile: name of the profile.
        running: separations that are separated now.
        gpus: GPUs that those hold now; None if Jobs may not be read.
        held: seconds that pods of ended attempts held a GPU, times GPUs.
        busy: seconds of them in which a network computed, of completed separations.
        cpu: seconds of CPU cores that pods reserved.
        completed: completed separations.
        failed: failed separations.
    """

    profile: str
    running: int = 0
    gpus: int | None = 0
    held: float = 0.0
    busy: float = 0.0
    cpu: float = 0.0
    completed: int = 0
    failed: int = 0

    @property
    def share(self) -> float | None:
        """Busy by held; None if no GPU was held."""
        return self.busy / self.held if self.held else None


def by_profile(separations: Iterable[Separation], gpus: Mapping[tuple[str, str], int] | None) -> list[ProfileTime]:
    """Return the time of each profile, that which held most first.

    Args:
        separations: the separations.
        gpus: GPUs that each Job requests, by namespace and name; None if Jobs may not be read.
    """
    found: dict[str, ProfileTime] = {}
    for one in separations:
        time = found.setdefault(one.spec.profile, ProfileTime(one.spec.profile, gpus=None if gpus is None else 0))
        _add(time, one, gpus)
    return sorted(found.values(), key=lambda time: (-time.held, -time.cpu, time.profile))


def _add(time: ProfileTime, one: Separation, gpus: Mapping[tuple[str, str], int] | None) -> None:
    status = one.status
    held = status.usage.gpu_seconds if status.usage is not None else 0.0
    time.held += held
    time.cpu += status.usage.cpu_seconds if status.usage is not None else 0.0
    time.busy += _busy(one) if held else 0.0
    time.completed += one.phase is Phase.COMPLETED
    time.failed += one.phase is Phase.FAILED
    if one.phase is Phase.SEPARATING:
        time.running += 1
        if gpus is not None and time.gpus is not None:
            time.gpus += gpus.get((one.namespace, status.job or ""), 0)


def _busy(one: Separation) -> float:
    """Return the seconds of the network, which a separation on one GPU records by its real-time factor."""
    result, source = one.status.result, one.status.source
    if result is None or result.copied_from is not None or source is None or not source.duration:
        return 0.0
    return result.real_time_factor * source.duration


def requested_gpus(job: Mapping[str, Any]) -> int:
    """Return the GPUs that the pod of a Job requests, by any vendor's name, such as `nvidia.com/mig-1g.10gb`."""
    containers = job["spec"]["template"]["spec"]["containers"]
    requests = [one.get("resources", {}).get("limits") or {} for one in containers]
    return sum(
        int(amount)
        for each in requests
        for name, amount in each.items()
        if "/" in name and any(part in name.partition("/")[2] for part in ("gpu", "mig-"))
    )
