"""Reads and cached submissions compared with the baseline: server CPU time per request, and 99th percentile latency.

Authentication, rate limits, request ids, access log and metrics are enabled, as in production; the baseline has none.
"""

from collections.abc import Iterator
from statistics import median

from bench.api.load import Plan
from bench.api.servers import Bench, Measured, distinct_submits, load, reads, submits
from bench.separation.figures import Figure


def cpu_us(server: Measured, requests: list[str], seconds: float) -> tuple[float, float]:
    """Return the server's CPU microseconds per request, and requests a second."""
    before = server.cpu_seconds()
    outcome = load(Plan(server.port, requests, seconds=seconds))
    spent = server.cpu_seconds() - before
    return spent / outcome.requests * 1e6, outcome.requests / outcome.seconds


def figures(made: Bench, rounds: int, seconds: float) -> Iterator[Figure]:
    """Interleave the measurements, so that other load on the machine affects them equally."""
    bare, ours, posts, distinct, rates = [], [], [], [], []
    for _ in range(rounds):
        cost, rate = cpu_us(made.bare, reads(made), seconds)
        bare.append(cost)
        rates.append(rate)
        ours.append(cpu_us(made.ours, reads(made), seconds)[0])
        posts.append(cpu_us(made.ours, submits(made), seconds)[0])
        distinct.append(cpu_us(made.ours, distinct_submits(made), seconds)[0])
    yield Figure("api.bare_get_cpu", median(bare), "us/request")
    yield Figure("api.get_cpu", median(ours), "us/request")
    yield Figure("api.get_vs_bare", median(bare) / median(ours), "x", 1.5, "more")
    worst = min(theirs / mine for theirs, mine in zip(bare, ours, strict=True))
    yield Figure("api.get_vs_bare_worst", worst, "x", 0.9, "more")
    yield Figure("api.cached_post_cpu", median(posts), "us/request")
    yield Figure("api.cached_post_vs_bare", median(bare) / median(posts), "x", 0.5, "more")
    yield Figure("api.cached_post_in_new_words_vs_bare", median(bare) / median(distinct), "x", 0.5, "more")
    slow = [
        [_p99(server, made, median(rates) / 2, seconds) for server in (made.bare, made.ours)] for _ in range(rounds)
    ]
    yield Figure("api.bare_get_p99", median(pair[0] for pair in slow), "ms")
    yield Figure("api.get_p99", median(pair[1] for pair in slow), "ms")
    yield Figure("api.get_p99_vs_bare", median(pair[1] / pair[0] for pair in slow), "x", 1.2)


def _p99(server: Measured, made: Bench, rate: float, seconds: float) -> float:
    return load(Plan(server.port, reads(made), seconds=seconds, rate=rate)).p99_ms
