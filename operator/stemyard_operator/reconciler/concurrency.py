"""Limits on concurrent Jobs, and a fair order among the separations that wait for one."""

import bisect
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import youtube_id
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_contract.source import Source
from stemyard_operator.config.settings import Settings
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.job import Job
from stemyard_operator.model.separation import Separation


class LimitGroup(NamedTuple):
    """What limits a Job: of the Jobs of one group, all fit or none does."""

    namespace: str
    host: str = ""
    """Host that is fetched from, if hosts are limited."""
    profile: str = ""
    """Profile of a separation, if it has a limit."""


_Place = tuple[tuple[int, float, str], str]
"""Sort key of a separation, and its name."""
_NO_HOST: Final = ""
_DEFAULT_PROFILE: Final = SeparationJobSpec.model_fields["profile"].default
_YOUTUBE: Final = "youtube.com"


@dataclass
class _Load:
    """How many of a stage's places are taken, and what limits them."""

    free: int
    namespace_limit: int
    host_limit: int | None
    spaced: bool
    profile_limits: Mapping[str, int]
    paused_hosts: set[str] = field(default_factory=set)
    """Hosts whose last fetch began less than the spacing ago."""
    namespaces: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    profiles: Counter[str] = field(default_factory=Counter)

    def fits(self, group: LimitGroup) -> bool:
        namespace, host, profile = group
        if self.free <= 0 or self.namespaces[namespace] >= self.namespace_limit:
            return False
        if profile in self.profile_limits and self.profiles[profile] >= self.profile_limits[profile]:
            return False
        if host == _NO_HOST:
            return True
        return host not in self.paused_hosts and (self.host_limit is None or self.hosts[host] < self.host_limit)

    def count(self, group: LimitGroup, number: int = 1) -> None:
        """Count places that are taken."""
        self.free -= number
        self.namespaces[group.namespace] += number
        self.hosts[group.host] += number
        self.profiles[group.profile] += number

    def take(self, group: LimitGroup) -> None:
        """Take a place; with spacing, no other fetch from this host begins now."""
        self.count(group)
        if self.spaced:
            self.paused_hosts.add(group.host)


class ConcurrencyLimiter:
    """Counts the live Jobs of the cluster cache, and claims for Jobs that are being created.

    The namespace with the fewest Jobs goes first, so that none can crowd out others, whatever the priorities; within
    it, and between equals, the higher priority goes first, then the older.
    """

    def __init__(self, cluster_cache: ClusterCache, settings: Settings, now: Callable[[], datetime]) -> None:
        self._cluster_cache = cluster_cache
        self._settings = settings
        self._now = now
        limits = {name: profile.max_active for name, profile in settings.profiles.items() if profile.max_active}
        self._profile_limits: Mapping[str, int] = limits
        self._by_host = settings.max_active_fetch_per_host > 0 or settings.fetch_spacing_seconds > 0
        self._waiting: dict[WorkStage, dict[LimitGroup, list[_Place]]] = {stage: {} for stage in WorkStage}
        self._places: dict[str, tuple[WorkStage, LimitGroup, _Place]] = {}
        self._claims: dict[str, tuple[WorkStage, LimitGroup]] = {}
        self._fetched_at: dict[str, float] = {}
        """When the last fetch from a host began, on the monotonic clock."""

    def room(self, separation: Separation, stages: Iterable[WorkStage] = WorkStage) -> frozenset[WorkStage]:
        """Return those of the stages that this separation may start a Job of now."""
        return frozenset(stage for stage in stages if self._may_start(separation, stage))

    def spacing_delay(self, separation: Separation) -> float:
        """Return the seconds until the spacing of fetches allows the next from its host."""
        spacing, host = self._settings.fetch_spacing_seconds, self._group(separation, WorkStage.FETCH).host
        if not spacing or host not in self._fetched_at:
            return 0.0
        return max(0.0, self._fetched_at[host] + spacing - time.monotonic())

    def claim(self, separation: Separation, stage: WorkStage) -> bool:
        """Take a place until `release`; return False if there is none any more."""
        if not self._may_start(separation, stage):
            return False
        group = self._group(separation, stage)
        self._claims[separation.uid] = (stage, group)
        if stage is WorkStage.FETCH:
            self._record_fetch(group.host, 0)
        self.leave(separation.uid)
        return True

    def release(self, uid: str) -> None:
        """Give the claim back: the Job is in the cluster cache, or was not created."""
        self._claims.pop(uid, None)

    def wait(self, separation: Separation, stage: WorkStage) -> None:
        """Wait for a place of a stage."""
        group, place = self._group(separation, stage), _place(separation)
        if self._places.get(separation.uid) == (stage, group, place):
            return
        self.leave(separation.uid)
        self._places[separation.uid] = (stage, group, place)
        bisect.insort(self._waiting[stage].setdefault(group, []), place)

    def leave(self, uid: str) -> None:
        """Stop waiting."""
        known = self._places.pop(uid, None)
        if known is None:
            return
        stage, group, place = known
        places = self._waiting[stage][group]
        del places[bisect.bisect_left(places, place)]
        if not places:
            del self._waiting[stage][group]

    def next_in_line(self, stage: WorkStage) -> list[Key]:
        """Return the keys of those that may start a Job of this stage now."""
        return [(namespace, name) for namespace, (_, name) in self._admitted(stage, self._load(stage))]

    def _may_start(self, separation: Separation, stage: WorkStage) -> bool:
        load, group, own = (
            self._load(stage, excluding=separation.uid),
            self._group(separation, stage),
            _place(separation),
        )
        if not load.fits(group):
            return False
        waits = self._places.get(separation.uid) == (stage, group, own)
        return any(place == own for _, place in self._admitted(stage, load, None if waits else (group, own)))

    def _admitted(
        self, stage: WorkStage, load: _Load, extra: tuple[LimitGroup, _Place] | None = None
    ) -> Iterator[tuple[str, _Place]]:
        """Yield namespace and place of those that get the free places, in order, as if `extra` waited too."""
        groups: dict[LimitGroup, Iterator[_Place]] = {
            group: iter(places) for group, places in self._waiting[stage].items()
        }
        if extra is not None:
            group, place = extra
            groups[group] = heapq.merge(self._waiting[stage].get(group, ()), [place])
        heads = {group: head for group, places in groups.items() if (head := next(places, None)) is not None}
        while fitting := [group for group in heads if load.fits(group)]:
            group = min(fitting, key=lambda group: (load.namespaces[group.namespace], heads[group]))
            yield group.namespace, heads[group]
            load.take(group)
            following = next(groups[group], None)
            if following is None:
                del heads[group]
            else:
                heads[group] = following

    def _load(self, stage: WorkStage, excluding: str = "") -> _Load:
        fetch, settings = stage is WorkStage.FETCH, self._settings
        load = _Load(
            free=settings.max_active_fetch if fetch else settings.max_active,
            namespace_limit=settings.namespace_fetch_limit if fetch else settings.namespace_limit,
            host_limit=(settings.max_active_fetch_per_host or None) if fetch else None,
            spaced=fetch and settings.fetch_spacing_seconds > 0,
            profile_limits={} if fetch else self._profile_limits,
        )
        now = self._now()
        counted = [job for job in self._cluster_cache.live(stage) if not job.queue and not job.is_stuck(now)]
        taken = [(self._group_of_job(job), job) for job in counted]
        for group, number in Counter(group for group, _ in taken).items():
            load.count(group, number)
        if load.spaced:
            for group, job in taken:
                self._record_fetch(group.host, (now - job.created).total_seconds())
        for uid, (claimed, group) in self._claims.items():
            if claimed is stage and uid != excluding:
                load.count(group)
        if load.spaced:
            load.paused_hosts.update(self._paused_hosts())
        return load

    def _group(self, separation: Separation, stage: WorkStage) -> LimitGroup:
        if stage is WorkStage.FETCH:
            return LimitGroup(separation.namespace, host_of(separation.spec.source) if self._by_host else _NO_HOST)
        profile = separation.spec.profile
        return LimitGroup(separation.namespace, profile=profile if profile in self._profile_limits else "")

    def _group_of_job(self, job: Job) -> LimitGroup:
        if job.shape:
            return LimitGroup(job.namespace, profile=job.profile if job.profile in self._profile_limits else "")
        limited = self._by_host if job.stage is WorkStage.FETCH else self._profile_limits
        owner = self._cluster_cache.separation(job.owner) if limited else None
        if owner is None:
            return LimitGroup(job.namespace)
        if job.stage is WorkStage.FETCH:
            return LimitGroup(job.namespace, _host_of_raw(owner["spec"]["source"]))
        return LimitGroup(job.namespace, profile=owner["spec"].get("profile", _DEFAULT_PROFILE))

    def _record_fetch(self, host: str, age: float) -> None:
        """Record a fetch that began so many seconds ago, perhaps under another leader."""
        began = time.monotonic() - age
        if host != _NO_HOST and began > self._fetched_at.get(host, float("-inf")):
            self._fetched_at[host] = began

    def _paused_hosts(self) -> set[str]:
        since = time.monotonic() - self._settings.fetch_spacing_seconds
        self._fetched_at = {host: began for host, began in self._fetched_at.items() if began > since}
        return set(self._fetched_at)


def _place(separation: Separation) -> _Place:
    return separation.queue_key, separation.name


def _host_of_raw(source: Mapping[str, Any]) -> str:
    try:
        return host_of(Source.model_validate(source))
    except ValidationError:
        return ""


def host_of(source: Source) -> str:
    """Return the host that is fetched from, one for all of YouTube; "" if there is none, as for uploads.

    A URL that cannot be parsed has none: it is refused before anything is fetched.
    """
    if source.search_query is not None:
        return _YOUTUBE
    if source.url is None:
        return ""
    try:
        return _YOUTUBE if youtube_id(source.url) else (urlsplit(source.url).hostname or "").lower()
    except ValueError:
        return ""
