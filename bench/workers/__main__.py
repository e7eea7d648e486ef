"""`python -m bench.workers`: prints `name value unit target ok|short`, and writes the same to `bench/results/`.

The engine is a stand-in (see `pod.py`): no GPU is needed, and none is measured. Pods are processes on this machine, so
that what a kubelet and an image pull add to each Job is missing, which favours a Job for each song.
"""

import argparse
import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.separation.figures import Figure, machine
from bench.workers.system import Taken, fetched, measured, running

_RESULTS = Path(__file__).parents[1] / "results" / "workers.txt"
_HELD_OVER_BUSY = 1.3
_WORKER = {"songs": 1000, "idleSeconds": 1, "maxSeconds": 3600, "prefetch": 1}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--songs", type=int, default=50, help="songs that are queued at once")
    parser.add_argument("--seconds", type=float, default=180, help="length of each")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    lines = [
        f"# {datetime.date.today().isoformat()}, {machine()}",
        f"# {given.songs} songs of {given.seconds:g} s queued, 2 stems mp3, one place; stand-in engine: start-up 4 s, "
        "network 300x real time",
    ]
    print("\n".join(lines), flush=True)
    for figure in _figures(given.songs, given.seconds):
        lines.append(figure.line())
        print(lines[-1], flush=True)
    if not given.no_save:
        _RESULTS.write_text("\n".join(lines) + "\n")


def _figures(songs: int, seconds: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        found = fetched(Path(folder), songs, seconds)
        for name, worker in (("job-for-each", None), ("worker", _WORKER)):
            own = Path(folder) / name
            own.mkdir()
            with running(own, worker) as at:
                yield from _of(name, measured(at, found, "bench.workers.pod"))


def _of(name: str, taken: Taken) -> Iterator[Figure]:
    target = _HELD_OVER_BUSY if name == "worker" else None
    yield Figure(f"{name} held over busy", taken.held / taken.busy, "x", target)
    yield Figure(f"{name} beyond the network", (taken.seconds - taken.busy) / taken.songs, "s/song", None)
    yield Figure(f"{name} songs per hour", 3600 * taken.songs / taken.seconds, "1/h", None)


if __name__ == "__main__":
    main()
