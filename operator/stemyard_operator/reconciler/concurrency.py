"""Who may start a Job now: limits, and a fair order among those that wait."""

import bisect
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import youtube_id
from stemyard_contract.source import Source
from stemyard_operator.config.settings import Settings
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.job import Job
from stemyard_operator.model.separation import Separation

Lane = tuple[str, str]
"""Namespace, and the host that is fetched from where that matters: all in a lane fit, or none does."""
_Place = tuple[tuple[int, float, str], str]
"""Sort key of a separation, and its name."""
_NO_HOST: Final = ""
_YOUTUBE: Final = "youtube.com"


@dataclass
class _Load:
    """What is taken of a stage's places."""

    free: int
    namespace_limit: int | None
    host_limit: int | None
    spaced: bool
    resting: set[str] = field(default_factory=set)
    """Hosts of which the last fetch began too short a time ago."""
    namespaces: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)

    def fits(self, lane: Lane) -> bool:
        namespace, host = lane
        if self.free <= 0 or (self.namespace_limit is not None and self.namespaces[namespace] >= self.namespace_limit):
            return False
        if host == _NO_HOST:
            return True
        return host not in self.resting and (self.host_limit is None or self.hosts[host] < self.host_limit)

    def count(self, lane: Lane, number: int = 1) -> None:
        """Take note of places that are taken."""
        namespace, host = lane
        self.free -= number
        self.namespaces[namespace] += number
        self.hosts[host] += number

    def give(self, lane: Lane) -> None:
        """Give a place away; with spacing, nobody else begins with this host now."""
        self.count(lane)
        if self.spaced:
            self.resting.add(lane[1])


class ConcurrencyLimiter:
    """Places for Jobs. The projection tells which are taken; a claim bridges the time until it knows the new Job.

    The namespace with the fewest Jobs goes first, so that none can crowd out others, by whatever priorities; within it,
    and between equals, the higher priority, then the older.
    """

    def __init__(self, cluster_cache: ClusterCache, settings: Settings, now: Callable[[], datetime]) -> None:
        self._cluster_cache = cluster_cache
        self._settings = settings
        self._now = now
        self._by_host = settings.max_active_fetch_per_host > 0 or settings.fetch_spacing_seconds > 0
        self._lines: dict[WorkStage, dict[Lane, list[_Place]]] = {stage: {} for stage in WorkStage}
        self._places: dict[str, tuple[WorkStage, Lane, _Place]] = {}
        self._claims: dict[str, tuple[WorkStage, Lane]] = {}
        self._begun: dict[str, float] = {}
        """When the last fetch from a host began, on this process's clock."""

    def room(self, separation: Separation, stages: Iterable[WorkStage] = WorkStage) -> frozenset[WorkStage]:
        """Return those of the stages that this separation may start a Job of, being its turn."""
        return frozenset(stage for stage in stages if self._its_turn(separation, stage))

    def rest(self, separation: Separation) -> float:
        """Return the seconds for which nothing may be fetched from its host, for the sake of spacing."""
        spacing, host = self._settings.fetch_spacing_seconds, self._lane(separation, WorkStage.FETCH)[1]
        if not spacing or host not in self._begun:
            return 0.0
        return max(0.0, self._begun[host] + spacing - time.monotonic())

    def claim(self, separation: Separation, stage: WorkStage) -> bool:
        """Take a place until `release`, unless it was taken meanwhile."""
        if not self._its_turn(separation, stage):
            return False
        lane = self._lane(separation, stage)
        self._claims[separation.uid] = (stage, lane)
        if stage is WorkStage.FETCH:
            self._saw(lane[1], 0)
        self.leave(separation.uid)
        return True

    def release(self, uid: str) -> None:
        """Give the claim back: the Job is in the projection by now, or was not made."""
        self._claims.pop(uid, None)

    def wait(self, separation: Separation, stage: WorkStage) -> None:
        """Stand in line for a stage."""
        lane, place = self._lane(separation, stage), _place(separation)
        if self._places.get(separation.uid) == (stage, lane, place):
            return
        self.leave(separation.uid)
        self._places[separation.uid] = (stage, lane, place)
        bisect.insort(self._lines[stage].setdefault(lane, []), place)

    def leave(self, uid: str) -> None:
        """Leave the line."""
        known = self._places.pop(uid, None)
        if known is None:
            return
        stage, lane, place = known
        line = self._lines[stage][lane]
        del line[bisect.bisect_left(line, place)]
        if not line:
            del self._lines[stage][lane]

    def next_in_line(self, stage: WorkStage) -> list[Key]:
        """Return those who may start a Job of this stage now."""
        return [(namespace, name) for namespace, (_, name) in self._picked(stage, self._load(stage))]

    def _its_turn(self, separation: Separation, stage: WorkStage) -> bool:
        load, lane, own = self._load(stage, but=separation.uid), self._lane(separation, stage), _place(separation)
        if not load.fits(lane):
            return False
        waits = self._places.get(separation.uid) == (stage, lane, own)
        return any(place == own for _, place in self._picked(stage, load, None if waits else (lane, own)))

    def _picked(
        self, stage: WorkStage, load: _Load, extra: tuple[Lane, _Place] | None = None
    ) -> Iterator[tuple[str, _Place]]:
        """Yield who gets the free places, the first one first, as if one more stood in line."""
        lanes: dict[Lane, Iterator[_Place]] = {lane: iter(line) for lane, line in self._lines[stage].items()}
        if extra is not None:
            lane, place = extra
            lanes[lane] = heapq.merge(self._lines[stage].get(lane, ()), [place])
        heads = {lane: head for lane, places in lanes.items() if (head := next(places, None)) is not None}
        while fitting := [lane for lane in heads if load.fits(lane)]:
            lane = min(fitting, key=lambda lane: (load.namespaces[lane[0]], heads[lane]))
            yield lane[0], heads[lane]
            load.give(lane)
            following = next(lanes[lane], None)
            if following is None:
                del heads[lane]
            else:
                heads[lane] = following

    def _load(self, stage: WorkStage, but: str = "") -> _Load:
        fetch, settings = stage is WorkStage.FETCH, self._settings
        load = _Load(
            free=settings.max_active_fetch if fetch else settings.max_active,
            namespace_limit=None if fetch else settings.namespace_limit,
            host_limit=(settings.max_active_fetch_per_host or None) if fetch else None,
            spaced=fetch and settings.fetch_spacing_seconds > 0,
        )
        taken = [(self._lane_of_job(job), job) for job in self._cluster_cache.live(stage) if not job.queue]
        for lane, number in Counter(lane for lane, _ in taken).items():
            load.count(lane, number)
        if load.spaced:
            for (_, host), job in taken:
                self._saw(host, (self._now() - job.created).total_seconds())
        for uid, (claimed, lane) in self._claims.items():
            if claimed is stage and uid != but:
                load.count(lane)
        if load.spaced:
            load.resting.update(self._resting())
        return load

    def _lane(self, separation: Separation, stage: WorkStage) -> Lane:
        by_host = stage is WorkStage.FETCH and self._by_host
        return separation.namespace, host_of(separation.spec.source) if by_host else _NO_HOST

    def _lane_of_job(self, job: Job) -> Lane:
        by_host = job.stage is WorkStage.FETCH and self._by_host
        owner = self._cluster_cache.separation(job.owner) if by_host else None
        return job.namespace, _NO_HOST if owner is None else host_of(Source.model_validate(owner["spec"]["source"]))

    def _saw(self, host: str, age: float) -> None:
        """Take note of a fetch that began so many seconds ago, perhaps under another leader."""
        begun = time.monotonic() - age
        if host != _NO_HOST and begun > self._begun.get(host, float("-inf")):
            self._begun[host] = begun

    def _resting(self) -> set[str]:
        since = time.monotonic() - self._settings.fetch_spacing_seconds
        self._begun = {host: begun for host, begun in self._begun.items() if begun > since}
        return set(self._begun)


def _place(separation: Separation) -> _Place:
    return separation.place, separation.name


def host_of(source: Source) -> str:
    """Return the host, all of YouTube being one; "" where nothing outside is asked, as for uploads."""
    if source.search_query is not None:
        return _YOUTUBE
    if source.url is None:
        return ""
    return _YOUTUBE if youtube_id(source.url) else (urlsplit(source.url).hostname or "").lower()
