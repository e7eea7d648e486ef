"""Rate limits: 64 clients of four processes ask with one key for as much as they can get."""

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
"""A minute; soon used up, so that what refills meanwhile is fought for."""


def figures(made: Bench, folder: Path, seconds: float) -> Iterator[Figure]:
    """Count the scripts that Redis ran, and the requests that passed, against what the limit allows."""
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
    asked = sum(outcome.requests for outcome in outcomes)
    admitted = asked - sum(outcome.wrong for outcome in outcomes)
    yield Figure("api.limit_calls", scripts / asked, "calls/decision", 1)
    yield Figure("api.limit_admitted", admitted, "requests")
    yield Figure("api.limit_over_admitted", max(0, admitted - allowed), "requests", 0)
