"""Prometheus metrics of one API process, and the only importer of prometheus_client.

Labels hold only words of ours: no key, no track, no path that a client made up.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CACHE_SECONDS: Final = 1.0
"""Scrapes within this interval get the cached text, so that scraping cannot keep the process busy."""

Backend = Literal["redis", "kv", "local"]
CacheResult = Literal["hit", "coalesced", "miss"]
Source = Literal["mirror", "resource"]


@dataclass(frozen=True, slots=True)
class GaugeValues:
    """What is read at each scrape rather than counted.

    Attributes:
        streams: open streams of events.
        backend: what counts submits now.
        up: for each part behind the API that is configured, whether it answered when last probed.
    """

    streams: int
    backend: Backend
    up: Mapping[str, bool]


class Metrics:
    """Counts what this process does. Counting costs a request about 2 us."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Histogram(
            "stemyard_api_request_seconds",
            "Requests by route, method and class of status, and how long they took; streams until they began.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        submits = Counter(
            "stemyard_api_submits",
            "Requests for separations that were placed, by what the cache did.",
            ["cache"],
            registry=registry,
        )
        reads = Counter(
            "stemyard_api_track_reads",
            "Reads of tracks, by what answered: the mirror in Redis or the resource in Kubernetes.",
            ["source"],
            registry=registry,
        )
        refusals = Counter(
            "stemyard_api_rate_limited", "Requests refused for a rate limit, by policy.", ["policy"], registry=registry
        )
        # looking a child up by its labels costs more than counting
        self._timers: dict[tuple[str, str, int], Histogram] = {}
        self._submits = {result: submits.labels(result) for result in ("hit", "coalesced", "miss")}
        self._reads = {source: reads.labels(source) for source in ("mirror", "resource")}
        self._refusals = {policy: refusals.labels(policy) for policy in ("submit", "read", "anonymous")}
        self._text, self._until = b"", 0.0

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: as the client gave it.
            route: template of the path, or a fixed word where there is none.
            status: of the answer; 0 when there was none.
            seconds: that it took.
        """
        identity = (method if method in _METHODS else "other", route, status // 100)
        timer = self._timers.get(identity)
        if timer is None:
            timer = self._timers[identity] = self._requests.labels(*identity[:2], f"{status // 100}xx")
        timer.observe(seconds)

    def submitted(self, result: CacheResult) -> None:
        """Count a request for a separation that was placed."""
        self._submits[result].inc()

    def read(self, source: Source) -> None:
        """Count a read of a track."""
        self._reads[source].inc()

    def refused(self, policy: Literal["submit", "read", "anonymous"]) -> None:
        """Count a request that a rate limit refused."""
        self._refusals[policy].inc()

    def watch(self, readings: Callable[[], GaugeValues]) -> None:
        """Read these at each scrape from now on."""
        self._registry.register(_Gauges(readings))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, at most a second old."""
        if time.monotonic() >= self._until:
            self._text, self._until = generate_latest(self._registry), time.monotonic() + _CACHE_SECONDS
        return self._text


class _Gauges(Collector):
    """Everything that is read rather than counted."""

    def __init__(self, readings: Callable[[], GaugeValues]) -> None:
        self._readings = readings

    def describe(self) -> list[Metric]:
        """Return nothing: what is read may not be there yet when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        now = self._readings()
        yield GaugeMetricFamily("stemyard_api_event_streams", "Open streams of events.", now.streams)
        backend = GaugeMetricFamily(
            "stemyard_api_rate_limit_backend", "1 for what counts submits now.", labels=["backend"]
        )
        for name in ("redis", "kv", "local"):
            backend.add_metric([name], name == now.backend)
        yield backend
        up = GaugeMetricFamily(
            "stemyard_api_dependency_up", "Whether a part answered when last probed.", labels=["dependency"]
        )
        for name, answers in now.up.items():
            up.add_metric([name], answers)
        yield up
