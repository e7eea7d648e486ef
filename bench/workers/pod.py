"""The separator with a stand-in for an engine: a device that only one process may hold, and a time for each song.

Loading takes `START_SECONDS`, and a song its length divided by `SPEED`: what a torch process and a network on an H200
take, without the GPU. When it was held and busy is appended to a file, a JSON object for each process and song.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from stemyard_contract.models import Engine
from stemyard_contract.separationjob import Stem
from stemyard_separator.engines import registry
from stemyard_separator.engines.protocol import MixStatistics, Samples, SeparationEngine, StemBlock

START_SECONDS: Final = 4.0
SPEED: Final = 300.0
DEVICE: Final = "BENCH_DEVICE"
"""Environment variable: the file that stands for the device; beside it is the file with the times."""
_RATE: Final = 44_100


class StandIn:
    """Halves the mix: two stems that sum to it."""

    name, digest, device = "stand-in", "sha256:" + "0" * 64, "stand-in"
    versions: dict[str, str] = {}  # noqa: RUF012 - read only
    parameters: dict[str, float | str] = {}  # noqa: RUF012 - read only

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        for block in mix:
            busy = block.shape[1] / _RATE / SPEED
            time.sleep(busy)
            _note(busy=busy)
            half = block * 0.5
            yield {Stem.VOCALS: half, Stem.INSTRUMENTAL: half}


def _note(**found: float) -> None:
    with Path(os.environ[DEVICE] + ".times").open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), "at": time.time(), **found}) + "\n")


def _load(_: Any) -> SeparationEngine:
    device = Path(os.environ[DEVICE]).open("a")  # noqa: SIM115 - held until the process ends
    fcntl.flock(device, fcntl.LOCK_EX)
    _note(held=0.0)
    time.sleep(START_SECONDS)
    _HELD.append(device)
    return StandIn()


_HELD: list[Any] = []
"""Keeps the device open."""


def main() -> None:
    from stemyard_separator.__main__ import main as run

    vars(registry)["_LOADERS"] = {Engine.SPLEETER: _load}
    sys.argv = sys.argv[:1]
    code = run()
    _note(ended=0.0)
    sys.exit(code)


if __name__ == "__main__":
    main()
