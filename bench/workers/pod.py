"""The separator with a stand-in for an engine: a device that only one process may hold, and a time for each song.

Loading takes `START_SECONDS`, and a song its length divided by `SPEED`: what a torch process and a network on an H200
take, without the GPU. Where this machine has fewer cores than are reckoned, both take so many times longer. When the
device was held, and what for, is appended to a file, a JSON object for each event.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from stemyard_contract.models import Engine
from stemyard_contract.separationjob import Stem
from stemyard_separator.engines import registry
from stemyard_separator.engines.protocol import MixStatistics, Samples, SeparationEngine, StemBlock

START_SECONDS: Final = 4.0
SPEED: Final = 300.0
DEVICE: Final = "BENCH_DEVICE"
"""Environment variable: the file that stands for the device; beside it is the file with the times."""
SLOWER: Final = "BENCH_SLOWER"
"""Environment variable: how many times longer the device takes."""
_RATE: Final = 44_100
_BATCH: Final = 10 * _RATE
"""Samples that are computed at once."""


class StandIn:
    """Halves the mix: two stems that sum to it."""

    name, digest, device = "stand-in", "sha256:" + "0" * 64, "stand-in"
    versions: dict[str, str] = {}  # noqa: RUF012 - read only
    parameters: dict[str, float | str] = {}  # noqa: RUF012 - read only

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        begun = since = time.time()
        busy = reading = handing = 0.0
        for batch in _batches(mix):
            reading += time.time() - since
            computing = batch.shape[1] / _RATE / SPEED * _slower()
            time.sleep(computing)
            busy += computing
            half, since = batch * 0.5, time.time()
            yield {Stem.VOCALS: half, Stem.INSTRUMENTAL: half}
            handing += time.time() - since
            since = time.time()
        _note("song", begun=begun, busy=busy, reading=reading, handing=handing)


def _batches(mix: Iterable[Samples]) -> Iterator[Samples]:
    blocks: list[Samples] = []
    for block in mix:
        blocks.append(block)
        if sum(each.shape[1] for each in blocks) >= _BATCH:
            yield np.concatenate(blocks, axis=1)
            blocks = []
    if blocks:
        yield np.concatenate(blocks, axis=1)


def _slower() -> float:
    return float(os.environ.get(SLOWER, "1"))


def _note(event: str, **found: float) -> None:
    line = {"pid": os.getpid(), "event": event, "at": time.time(), **found}
    with Path(os.environ[DEVICE] + ".times").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _load(_: Any) -> SeparationEngine:
    device = Path(os.environ[DEVICE]).open("a")  # noqa: SIM115 - held until the process ends
    fcntl.flock(device, fcntl.LOCK_EX)
    _note("held")
    time.sleep(START_SECONDS * _slower())
    _HELD.append(device)
    _note("loaded")
    return StandIn()


_HELD: list[Any] = []
"""Keeps the device open."""


def main() -> None:
    from stemyard_separator.__main__ import main as run

    vars(registry)["_LOADERS"] = {Engine.SPLEETER: _load}
    sys.argv = sys.argv[:1]
    code = run()
    _note("ended", cpu=time.process_time())
    sys.exit(code)


if __name__ == "__main__":
    main()
