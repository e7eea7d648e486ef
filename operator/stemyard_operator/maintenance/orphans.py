"""Which objects of the bucket belong to no SeparationJob, and which SeparationJobs miss objects. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from pydantic import BaseModel, Field

from stemyard_contract.handover import Room
from stemyard_operator.maintenance.references import References
from stemyard_operator.maintenance.sweep_scope import Scope, room_in, track_in

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
    stopped: bool = False
    """Whether it removed nothing as a precaution."""
    unwatched: int = 0
    """Objects that were not judged."""
    refused: int = 0
    """Prefixes that could not be removed."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a sweep found."""

    tracks: int
    """Tracks that have objects."""
    orphans: frozenset[str]
    """Prefixes that no SeparationJob refers to."""
    hollow: tuple[tuple[str, str], ...]
    """Namespace and name of completed SeparationJobs whose objects are not all stored."""
    unwatched: int = 0
    """Objects that were not judged: they are not known to belong to a watched namespace."""

    def confirmed(self, before: SweepState | None) -> frozenset[str]:
        """Return the orphans that the sweep before found too."""
        return self.orphans.intersection(before.orphans) if before else frozenset()

    def objection(self, confirmed: frozenset[str], references: References) -> str | None:
        """Return why nothing should be removed, None if nothing speaks against it. One track may always be removed."""
        tracks = set(_tracks(confirmed))
        tracks.difference_update(_tracks(references.prefixes))
        lost = len(tracks) + len(self.hollow)
        if self.tracks and not references.separations:
            return f"no SeparationJob was listed, but {self.tracks} tracks have objects"
        if lost > max(1, (self.tracks + len(self.hollow)) // _SHARE):
            return f"{lost} of {self.tracks} tracks would go, more than one in {_SHARE}"
        return None


class Comparison:
    """Compares the keys of the bucket, page by page, with what SeparationJobs refer to; keeps prefixes, not keys."""

    def __init__(self, references: References, scope: Scope) -> None:
        self._references = references
        self._scope = scope
        self._tracks: set[str] = set()
        self._orphans: set[str] = set()
        self._unwatched = 0

    def add(self, keys: Iterable[str]) -> None:
        """Compare some keys, in any order; it takes least time if those of a prefix follow each other."""
        for prefix, group in groupby(keys, self._scope.prefix):
            if prefix is None:
                continue
            below = list(group)
            for key in below:
                self._references.listed(prefix, key)
            if not self._scope.includes(prefix):
                self._unwatched += len(below)
                continue
            self._tracks.update(_tracks([prefix]))
            if prefix not in self._references.prefixes and track_in(prefix) not in self._references.tracks:
                self._orphans.add(prefix)

    def findings(self) -> Findings:
        """Return what was found among all keys."""
        return Findings(len(self._tracks), frozenset(self._orphans), self._references.hollow(), self._unwatched)


def _tracks(prefixes: Iterable[str]) -> Iterator[str]:
    """Yield the tracks of these prefixes; uploads belong to none until they are submitted."""
    return (track_in(prefix) for prefix in prefixes if room_in(prefix) != Room.UPLOADS)


def seen_before(content: bytes | None) -> SweepState | None:
    """Return what the last sweep found, None if there was none or it cannot be read."""
    if content is None:
        return None
    try:
        return SweepState.model_validate_json(content)
    except ValueError:
        return None


def summary(findings: Findings, confirmed: frozenset[str]) -> Mapping[str, int]:
    """Return the figures of a sweep for its log line."""
    return {
        "tracks": findings.tracks,
        "orphans": len(findings.orphans),
        "confirmed": len(confirmed),
        "hollow": len(findings.hollow),
        "unwatched": findings.unwatched,
    }
