"""Which objects of the bucket belong to no SeparationJob, and which SeparationJobs have lost theirs. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from pydantic import BaseModel, Field

from stemyard_contract.handover import Room
from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.artifacts import objects_of, prefix_of
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.separation import Separation

STATE_FILE: Final = "sweep.json"
"""Below the install id: what the sweep saw last."""
_SHARE: Final = 10
"""One in so many tracks may go in a sweep; more would rather be a mistake than a truth."""


class Sighting(BaseModel):
    """What one sweep found, kept for the next: only what both found is an orphan."""

    at: float
    """Epoch seconds."""
    orphans: list[str] = Field(default_factory=list)
    """Prefixes, with a trailing slash."""


@dataclass
class Kept:
    """What the SeparationJobs of all watched namespaces hold on to."""

    separations: int = 0
    prefixes: set[str] = field(default_factory=set)
    tracks: set[str] = field(default_factory=set)
    """Tracks under way: their pods may write to places that no status names yet."""
    results: dict[str, tuple[Separation, tuple[str, ...]]] = field(default_factory=dict)
    """By uid, completed ones and the objects of their result."""

    def add(self, separation: Separation, install_id: str) -> None:
        """Take in a SeparationJob."""
        self.separations += 1
        named = objects_of(separation.spec, separation.status, install_id)
        self.prefixes.update(one if one.endswith("/") else prefix_of(one) for one in named)
        if not ended(separation):
            self.tracks.add(separation.track_id)
        elif separation.status.phase is Phase.COMPLETED and separation.status.result is not None:
            result = separation.status.result
            keys = (result.manifest_key, *(stem.key for stem in result.stems.values()))
            self.results[separation.uid] = (separation, keys)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a sweep found."""

    tracks: int
    """Tracks that have objects."""
    orphans: frozenset[str]
    """Prefixes that no SeparationJob holds on to."""
    hollow: tuple[Separation, ...]
    """Completed ones whose objects are not all there."""

    @classmethod
    def of(cls, keys: Iterable[str], kept: Kept, install_id: str) -> Self:
        """Return what all keys of the installation and all SeparationJobs tell together."""
        there = set(keys)
        places = {place: track for key in there if (place := _place(key, install_id)) for track in [_track(place)]}
        orphans = {place for place, track in places.items() if place not in kept.prefixes and track not in kept.tracks}
        hollow = [separation for separation, named in kept.results.values() if not there.issuperset(named)]
        return cls(len(_tracks(places)), frozenset(orphans), tuple(hollow))

    def confirmed(self, before: Sighting | None) -> frozenset[str]:
        """Return the orphans that were orphans before."""
        return self.orphans.intersection(before.orphans) if before else frozenset()

    def objection(self, going: frozenset[str], kept: Kept) -> str | None:
        """Return why nothing should be removed, or None where all seems well. One track may always go."""
        tracks = _tracks(going) - _tracks(kept.prefixes)
        lost = len(tracks) + len(self.hollow)
        if self.tracks and not kept.separations:
            return f"no SeparationJob was listed, but {self.tracks} tracks have objects"
        if lost > max(1, (self.tracks + len(self.hollow)) // _SHARE):
            return f"{lost} of {self.tracks} tracks would go, more than one in {_SHARE}"
        return None


def _place(key: str, install_id: str) -> str | None:
    """Return the prefix that an object goes with, None for one that is not the sweep's."""
    parts = key.split("/")
    if len(parts) < 5 or parts[0] != install_id or parts[1] not in set(Room):
        return None
    return "/".join(parts[:4]) + "/"


def _tracks(places: Iterable[str]) -> set[str]:
    """Return the tracks that have these places; uploads belong to none until they are submitted."""
    return {_track(place) for place in places if place.split("/")[1] != Room.UPLOADS}


def _track(place: str) -> str:
    return place.split("/")[2]


def seen_before(content: bytes | None) -> Sighting | None:
    """Return what the last sweep found, None where there was none or it cannot be read."""
    if content is None:
        return None
    try:
        return Sighting.model_validate_json(content)
    except ValueError:
        return None


def to_keep(findings: Findings, removed: frozenset[str], now: float) -> Sighting:
    """Return what the next sweep is to know of this one."""
    return Sighting(at=now, orphans=sorted(findings.orphans - removed))


def summary(findings: Findings, going: frozenset[str]) -> Mapping[str, int]:
    """Return the figures of a sweep, for its log line."""
    return {
        "tracks": findings.tracks,
        "orphans": len(findings.orphans),
        "confirmed": len(going),
        "hollow": len(findings.hollow),
    }
