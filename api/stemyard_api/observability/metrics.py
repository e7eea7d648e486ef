"""Prometheus metrics of one API process, and the only importer of prometheus_client.

Labels contain no keys, no track ids and no paths that a client can choose.
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
    """Values read at each scrape.

    Attributes:
        streams: open streams of events.
        backend: what currently counts submits.
        up: for each configured backend, whether it responded to the last probe.
    """

    streams: int
    backend: Backend
    up: Mapping[str, bool]


class Metrics:
    """Metrics of this process. Counting takes about 2 us per request."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Histogram(
            "stemyard_api_request_seconds",
            "Duration of requests by route, method and status class; of streams until they start.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        submits = Counter(
            "stemyard_api_submits",
            "Requests for separations that were placed, by cache result.",
            ["cache"],
            registry=registry,
        )
        reads = Counter(
            "stemyard_api_track_reads",
            "Reads of tracks by source: the mirror in Redis or the resource in Kubernetes.",
            ["source"],
            registry=registry,
        )
        refusals = Counter(
            "stemyard_api_rate_limited", "Requests refused by a rate limit, by policy.", ["policy"], registry=registry
        )
        # looking up a child by its labels costs more than counting
        self._timers: dict[tuple[str, str, int], Histogram] = {}
        self._submits = {result: submits.labels(result) for result in ("hit", "coalesced", "miss")}
        self._reads = {source: reads.labels(source) for source in ("mirror", "resource")}
        self._refusals = {policy: refusals.labels(policy) for policy in ("submit", "read", "anonymous")}
        self._text, self._until = b"", 0.0

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: as sent by the client.
            route: template of the path, or a fixed word without a match.
            status: of the response; 0 if there was none.
            seconds: duration.
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
        """Register gauges that are read at each scrape."""
        self._registry.register(_Gauges(readings))

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, at most a second old."""
        if time.monotonic() >= self._until:
            self._text, self._until = generate_latest(self._registry), time.monotonic() + _CACHE_SECONDS
        return self._text


class _Gauges(Collector):
    """Gauges that are read at each scrape."""

    def __init__(self, readings: Callable[[], GaugeValues]) -> None:
        self._readings = readings

    def describe(self) -> list[Metric]:
        """Return nothing: the values may not exist yet at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all gauges."""
        now = self._readings()
        yield GaugeMetricFamily("stemyard_api_event_streams", "Open streams of events.", now.streams)
        backend = GaugeMetricFamily(
            "stemyard_api_rate_limit_backend", "1 for the backend that currently counts submits.", labels=["backend"]
        )
        for name in ("redis", "kv", "local"):
            backend.add_metric([name], name == now.backend)
        yield backend
        up = GaugeMetricFamily(
            "stemyard_api_dependency_up", "Whether a backend responded to the last probe.", labels=["dependency"]
        )
        for name, answers in now.up.items():
            up.add_metric([name], answers)
        yield up
