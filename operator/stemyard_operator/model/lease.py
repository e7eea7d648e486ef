"""What is known of workers and leases when one song is decided about. Pure."""

from dataclasses import dataclass
from datetime import datetime

from stemyard_contract.leasing import SongEnd
from stemyard_operator.model.job import Job


@dataclass(frozen=True, slots=True)
class LeaseOffer:
    """A worker's pod that waits at the desk for a song; to be leased to it by a write of the status."""

    worker: Job
    pod_uid: str
    pod_name: str


@dataclass(frozen=True, slots=True)
class LeaseView:
    """Workers and leases, as far as they matter to one song."""

    offer: LeaseOffer | None = None
    worker: Job | None = None
    """The worker that the song's status names."""
    caller: str = ""
    """uid of the pod of that worker that called the desk last, "" if none has."""
    silent_seconds: float = 0
    """Seconds since the pod that holds the lease called the desk, as far as this process knows."""
    reported: SongEnd | None = None
    """How the song ended, as that pod reported; not verified."""
    held_since: datetime | None = None
    """Since when that pod's device is held for the song: not before the end of the song before it."""
    peers: tuple[Job, ...] = ()
    """Workers that the song may be leased to, those that have ended included."""
    paused_until: datetime | None = None
    """Until when no other one is created, since one has not started in time."""
    ahead: int = 0
    """Songs that will be leased to them before this one."""
    free: int = 0
    """Live ones among them that hold no song, those that are starting included."""


NO_LEASES = LeaseView()
