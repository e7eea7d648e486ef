"""`python -m bench.workers`: prints `name value unit target ok|short`, and writes the same to `bench/results/`.

The engine is a stand-in (see `pod.py`): no GPU is needed, and none is measured. Where the machine has fewer cores than
are reckoned, the device and its bounds are so many times slower, and the figures are divided by that. Pods are
processes on this machine, so that what a kubelet and an image pull add to each Job is missing, which favours a Job for
each song; API server, store and operator take their share of its cores. Then the same with Spleeter, as it is.
"""

import argparse
import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.separation.figures import Figure, machine
from bench.workers.pod import DEVICE, SLOWER
from bench.workers.system import Pods, Song, fetched, measured, running
from bench.workers.times import Taken, taken
from stemyard_separator.process import available_cores

_RESULTS = Path(__file__).parents[1] / "results" / "workers.txt"
_HELD_OVER_BUSY = 1.3
_BEYOND = 1.0
_CLIP_SECONDS = 10.0
_CLIPS = 10
_EACH_CLIP = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--songs", type=int, default=50, help="songs that are queued at once")
    parser.add_argument("--seconds", type=float, default=180, help="length of each")
    parser.add_argument("--cores", type=int, default=8, help="cores that are reckoned; at least this machine's")
    parser.add_argument("--only", choices=("job-for-each", "worker", "spleeter"), help="one of the three")
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    lines = [
        f"# {datetime.date.today().isoformat()}, {machine()}",
        f"# {given.songs} songs of {given.seconds:g} s queued, 2 stems mp3, one place; stand-in engine: start-up 4 s, "
        f"network 300x real time, {given.cores} cores reckoned",
    ]
    print("\n".join(lines), flush=True)
    for figure in _figures(given):
        lines.append(figure.line())
        print(lines[-1], flush=True)
    if not given.no_save:
        _RESULTS.write_text("\n".join(lines) + "\n")


def _figures(given: argparse.Namespace) -> Iterator[Figure]:
    slower = max(1.0, given.cores / available_cores())
    with tempfile.TemporaryDirectory() as folder:
        if given.only != "spleeter":
            found = fetched(Path(folder), given.songs, given.seconds)
            for name, worker in (("job-for-each", None), ("worker", _worker(slower))):
                if given.only in {None, name}:
                    yield from _of(name, _with_stand_in(Path(folder, name), found, worker, slower))
        if given.only in {None, "spleeter"}:
            yield _with_spleeter(Path(folder, "spleeter"))


def _worker(slower: float) -> dict[str, Any]:
    return {"songs": 1000, "idleSeconds": round(slower), "maxSeconds": 3600, "prefetch": 1}


def _with_stand_in(folder: Path, songs: list[Song], worker: dict[str, Any] | None, slower: float) -> Taken:
    folder.mkdir()
    device = folder / "device"
    with running(folder, worker) as at:
        # the separator says so itself, but before numpy is imported, as its stand-in is with the engine
        one_thread = {"OPENBLAS_NUM_THREADS": "1"}
        pods = Pods("bench.workers.pod", {DEVICE: str(device), SLOWER: str(slower), **one_thread})
        seconds = measured(at, songs, pods)
    return taken(Path(f"{device}.times"), len(songs), seconds, slower)


def _with_spleeter(folder: Path) -> Figure:
    folder.mkdir()
    songs = fetched(folder, _CLIPS, _CLIP_SECONDS)
    with running(folder, _worker(1.0)) as at:
        seconds = measured(at, songs, Pods("", {"STEMYARD_THREADS": str(available_cores())}))
    return Figure(f"spleeter worker, {_CLIPS} clips of {_CLIP_SECONDS:g} s", seconds / _CLIPS, "s/song", _EACH_CLIP)


def _of(name: str, taken: Taken) -> Iterator[Figure]:
    is_worker = name == "worker"
    yield Figure(f"{name} held over busy", taken.held / taken.busy, "x", _HELD_OVER_BUSY if is_worker else None)
    for part in ("busy", "starting", "reading", "handing", "late", "between", "ending"):
        yield Figure(f"{name} held, {part}", getattr(taken, part) / taken.songs, "s/song")
    beyond = (taken.seconds - taken.busy) / taken.songs
    yield Figure(f"{name} beyond the network", beyond, "s/song", _BEYOND if is_worker else None)
    yield Figure(f"{name} songs per hour", 3600 * taken.songs / taken.seconds, "1/h")
    yield Figure(f"{name} CPU time", taken.cpu / taken.songs, "cpu_s/song")


if __name__ == "__main__":
    main()
