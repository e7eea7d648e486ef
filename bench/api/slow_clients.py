"""Reads beside 500 clients that stall: 99th percentile latency, compared with none."""

import contextlib
import socket
from collections.abc import Iterator
from statistics import median
from typing import Final

from bench.api.load import Plan
from bench.api.servers import KEY, Bench, load, reads
from bench.separation.figures import Figure

_CLIENTS: Final = 500
_RATE: Final = 300.0
"""Requests a second, far below what one process answers: the latency is not that of a queue."""
_BEGINNINGS: Final = (
    b"",
    b"GET /job/x HTTP/1.1\r\nHost: bench\r\nX-API-Key: ",
    f"POST /separate-audio HTTP/1.1\r\nHost: bench\r\nX-API-Key: {KEY}\r\n"
    "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode(),
)
"""What stalled clients have sent: nothing, half a head, half a body."""


def figures(made: Bench, rounds: int, seconds: float) -> Iterator[Figure]:
    """Interleave runs without and with the stalled clients."""
    ratios = []
    for _ in range(rounds):
        alone = _p99(made, seconds)
        with _stalled(made.ours.port):
            ratios.append(_p99(made, seconds) / alone)
    yield Figure("api.get_p99_beside_slow_clients_vs_none", median(ratios), "x", 1.5)


def _p99(made: Bench, seconds: float) -> float:
    return load(Plan(made.ours.port, reads(made), seconds=seconds, rate=_RATE)).p99_ms


@contextlib.contextmanager
def _stalled(port: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(_CLIENTS)]
        for number, client in enumerate(clients):
            client.sendall(_BEGINNINGS[number % len(_BEGINNINGS)])
        yield
        assert all(map(_is_open, clients)), "the clients were to stall during the whole run"


def _is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
