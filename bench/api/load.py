"""Load generator in a separate process: `python -m bench.api.load`, with the plan as JSON on standard input.

Closed loop: every connection sends its next request after the last response. Open loop: requests are due at fixed times
regardless of the server, and latency is measured from the due time, so that a stall counts for every delayed request.
"""

import asyncio
import json
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop


@dataclass
class Plan:
    port: int
    requests: list[str]
    """Complete HTTP/1.1 requests."""
    connections: int = 64
    seconds: float = 3.0
    rate: float = 0.0
    """Total requests a second; 0 means a closed loop."""


@dataclass
class Outcome:
    requests: int
    wrong: int
    seconds: float
    p50_ms: float
    p99_ms: float


@dataclass
class Run:
    plan: Plan
    requests: list[bytes]
    deadline: float
    idle: deque["Connection"] = field(default_factory=deque)
    due: deque[float] = field(default_factory=deque)
    times: list[float] = field(default_factory=list)
    wrong: int = 0


class Connection(asyncio.Protocol):
    def __init__(self, run: Run) -> None:
        self.run = run
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ready()

    def ready(self) -> None:
        if self.run.plan.rate == 0:
            if time.perf_counter() < self.run.deadline:
                self.send(time.perf_counter())
        elif self.run.due:
            self.send(self.run.due.popleft())
        else:
            self.run.idle.append(self)

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(random.choice(self.run.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        self.buffer = b""
        self.run.times.append(time.perf_counter() - self.due)
        self.run.wrong += not head.startswith(b"http/1.1 2")
        self.ready()


async def drive(plan: Plan) -> Outcome:
    loop = asyncio.get_running_loop()
    requests = [text.encode() for text in plan.requests]
    started = time.perf_counter()
    run = Run(plan, requests, started + plan.seconds)
    connections = [
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", plan.port) for _ in range(plan.connections)
    ]
    if plan.rate:
        await pace(run, started)
    await asyncio.sleep(max(0.0, run.deadline - time.perf_counter()))
    seconds, times = time.perf_counter() - started, sorted(run.times)
    for transport, _ in connections:
        transport.close()
    return Outcome(len(times), run.wrong, seconds, _quantile(times, 0.5), _quantile(times, 0.99))


async def pace(run: Run, started: float) -> None:
    number = 0
    while (now := time.perf_counter()) < run.deadline:
        while (due := started + number / run.plan.rate) <= now:
            number += 1
            if run.idle:
                run.idle.popleft().send(due)
            else:
                run.due.append(due)
        await asyncio.sleep(0.0005)


def _quantile(times: list[float], part: float) -> float:
    return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 3) if times else 0.0


if __name__ == "__main__":
    outcome = uvloop.run(drive(Plan(**json.load(sys.stdin))))
    json.dump(asdict(outcome), sys.stdout)
