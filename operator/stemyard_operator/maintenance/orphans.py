"""Which objects of the bucket belong to no SeparationJob, and which SeparationJobs miss objects. Pure."""

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
"""Below the install id: what the last sweep found."""
_SHARE: Final = 10
"""At most one in so many tracks is removed per sweep; more is likely a mistake."""


class SweepState(BaseModel):
    """What one sweep found, stored for the next: only what both found is removed."""

    at: float
    """Epoch seconds."""
    orphans: list[str] = Field(default_factory=list)
    """Prefixes, with a trailing slash."""


@dataclass
class Kept:
    """What the SeparationJobs of all watched namespaces refer to."""

    separations: int = 0
    prefixes: set[str] = field(default_factory=set)
    tracks: set[str] = field(default_factory=set)
    """Unfinished tracks: their pods may write to prefixes that no status names yet."""
    results: dict[str, tuple[Separation, tuple[str, ...]]] = field(default_factory=dict)
    """By uid: completed SeparationJobs and the objects of their result."""

    def add(self, separation: Separation, install_id: str) -> None:
        """Add what a SeparationJob refers to."""
        self.separations += 1
        named = objects_of(separation.spec, separation.status, install_id)
        self.prefixes.update(key if key.endswith("/") else prefix_of(key) for key in named)
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
    """Prefixes that no SeparationJob refers to."""
    hollow: tuple[Separation, ...]
    """Completed SeparationJobs whose objects are not all stored."""

    @classmethod
    def of(cls, keys: Iterable[str], kept: Kept, install_id: str) -> Self:
        """Compare all keys of the installation with all SeparationJobs."""
        stored = set(keys)
        prefixes = {prefix for key in stored if (prefix := _prefix(key, install_id))}
        orphans = {prefix for prefix in prefixes - kept.prefixes if _track(prefix) not in kept.tracks}
        hollow = [separation for separation, named in kept.results.values() if not stored.issuperset(named)]
        return cls(len(_tracks(prefixes)), frozenset(orphans), tuple(hollow))

    def confirmed(self, before: SweepState | None) -> frozenset[str]:
        """Return the orphans that the sweep before found too."""
        return self.orphans.intersection(before.orphans) if before else frozenset()

    def objection(self, confirmed: frozenset[str], kept: Kept) -> str | None:
        """Return why nothing should be removed, None if nothing speaks against it. One track may always be removed."""
        tracks = _tracks(confirmed) - _tracks(kept.prefixes)
        lost = len(tracks) + len(self.hollow)
        if self.tracks and not kept.separations:
            return f"no SeparationJob was listed, but {self.tracks} tracks have objects"
        if lost > max(1, (self.tracks + len(self.hollow)) // _SHARE):
            return f"{lost} of {self.tracks} tracks would go, more than one in {_SHARE}"
        return None


def _prefix(key: str, install_id: str) -> str | None:
    """Return the prefix that an object is removed with, None for one outside the swept rooms."""
    parts = key.split("/")
    if len(parts) < 5 or parts[0] != install_id or parts[1] not in set(Room):
        return None
    return "/".join(parts[:4]) + "/"


def _tracks(prefixes: Iterable[str]) -> set[str]:
    """Return the tracks of these prefixes; uploads belong to none until they are submitted."""
    return {_track(prefix) for prefix in prefixes if prefix.split("/")[1] != Room.UPLOADS}


def _track(prefix: str) -> str:
    return prefix.split("/")[2]


def seen_before(content: bytes | None) -> SweepState | None:
    """Return what the last sweep found, None if there was none or it cannot be read."""
    if content is None:
        return None
    try:
        return SweepState.model_validate_json(content)
    except ValueError:
        return None


def to_keep(findings: Findings, removed: frozenset[str], now: float) -> SweepState:
    """Return what to store for the next sweep."""
    return SweepState(at=now, orphans=sorted(findings.orphans - removed))


def summary(findings: Findings, confirmed: frozenset[str]) -> Mapping[str, int]:
    """Return the figures of a sweep for its log line."""
    return {
        "tracks": findings.tracks,
        "orphans": len(findings.orphans),
        "confirmed": len(confirmed),
        "hollow": len(findings.hollow),
    }
