"""Rate limits: 64 clients of four processes send requests with one key as fast as they can."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.api.load import Plan
from bench.api.servers import KEY, Bench, drive, submits
from bench.separation.figures import Figure
from tests.support.servers import api_process

_PROCESSES = 4
_CLIENTS = 64
_LIMIT = 600
"""Requests a minute; soon exhausted, so that the clients compete for refills."""


def figures(made: Bench, folder: Path, seconds: float) -> Iterator[Figure]:
    """Compare the scripts that Redis ran and the admitted requests with the limit."""
    limited = {**made.environment, "RATE_LIMIT_SUBMITS_PER_MINUTE": str(_LIMIT)}
    with ExitStack() as stack, ThreadPoolExecutor(_PROCESSES) as threads:
        apis = [stack.enter_context(api_process(folder, limited, KEY)) for _ in range(_PROCESSES)]
        made.cache.delete(made.keys.rate("default"))
        made.cache.config_resetstat()
        plans = [Plan(api.server.port, submits(made), _CLIENTS // _PROCESSES, seconds) for api in apis]
        started = time.monotonic()
        outcomes = list(threads.map(drive, plans))
        allowed = math.floor(_LIMIT * (1 + (time.monotonic() - started) / 60))
        scripts = made.cache.info("commandstats")["cmdstat_evalsha"]["calls"]
    sent = sum(outcome.requests for outcome in outcomes)
    admitted = sent - sum(outcome.wrong for outcome in outcomes)
    yield Figure("api.limit_calls", scripts / sent, "calls/decision", 1)
    yield Figure("api.limit_admitted", admitted, "requests")
    yield Figure("api.limit_over_admitted", max(0, admitted - allowed), "requests", 0)
