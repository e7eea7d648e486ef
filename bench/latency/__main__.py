"""`python -m bench.latency`: prints each step from POST to links, and writes figures to `bench/results/latency.txt`."""

import argparse
import asyncio
import datetime
import os
from pathlib import Path

from bench.latency.steps import Moments, figures, table
from bench.latency.watching import separated, watching
from bench.separation.figures import machine
from demo.system import Installation, System, bring_up, take_down
from localcluster.progress import say
from tests.support.audio import CLIP

_RESULTS = Path(__file__).parents[1] / "results" / "latency.txt"
_INSTALLATION = Installation("stemyard-latency", "latency", 30552, 30902)
_SETTLE_SECONDS = 5.0
"""Between two songs: the last one's pods and objects are being removed."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="songs, one after the other, after one to warm up")
    parser.add_argument("--keep", action="store_true", help="leave the installation running")
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.add_argument("--note", default="the machine was otherwise idle", help="what else the machine did")
    given = parser.parse_args()
    try:
        system = bring_up(_INSTALLATION, say)
        head = f"# {datetime.date.today().isoformat()}, {machine()}; {given.note}"
        rounds = asyncio.run(_rounds(system, given.rounds))
    finally:
        if not given.keep:
            take_down(_INSTALLATION)
    loads = "/".join(f"{each:.1f}" for each in os.getloadavg())
    about = f"# one node, Spleeter, the bundled clip of 10.9 s by upload, {given.rounds} songs; load afterwards {loads}"
    lines = [head, about, *table(rounds), *(figure.line() for figure in figures(rounds))]
    print("\n".join(lines), flush=True)
    if not given.no_save:
        _RESULTS.write_text("\n".join(lines) + "\n")


async def _rounds(system: System, count: int) -> list[Moments]:
    """Return the moments of each song; those of the first, which warms up caches, are dropped."""
    found: list[Moments] = []
    async with watching(system) as sightings:
        for number in range(count + 1):
            moments = await separated(system, sightings, CLIP)
            print(f"song {number}: {moments['links']:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            found.append(moments)
            await asyncio.sleep(_SETTLE_SECONDS)
    return list(found[1:])


if __name__ == "__main__":
    main()
