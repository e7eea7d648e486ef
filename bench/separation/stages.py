"""Runs fetch and separate on songs of given lengths; measures wall time, CPU time, first block and peak memory."""

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.separation.figures import Figure
from bench.separation.songs import encoded, song
from stemyard_contract.handover import Assignment
from stemyard_contract.separationjob import Source, UploadSource
from tests.support import separator_process as separator
from tests.support.desk_double import DeskDouble

_UPLOAD = Source(upload=UploadSource(id="4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", owner="key"))
_CORES = 2


@dataclass(frozen=True)
class Model:
    """The model and engine of a separation."""

    name: str
    folder: Path
    library: str
    """Library of its engine."""
    device: str = "cpu"
    promised: bool = False
    """Whether the ratio targets apply; spleeter's separation is so short that encoding dominates."""


@dataclass(frozen=True)
class Spent:
    """Resources that one stage used."""

    wall: float
    cpu: float
    peak_mebibytes: float
    first_block: float = 0.0
    """Seconds from the start of the process to its first separated block."""
    first_block_cpu: float = 0.0


def stages(model: Model, content: bytes, measured: bool = True) -> tuple[Spent, Spent]:
    """Fetch and separate a song; return the resources of each stage, from the start of its process to its end.

    With `measured` they include peak memory, which needs a small additional process.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        with DeskDouble() as desk:
            fetched = fetch(model, desk, folder, content, measured)
            return fetched, separate(model, desk, folder, measured)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch(model: Model, desk: DeskDouble, folder: Path, content: bytes, measured: bool = False) -> Spent:
    """Fetch a song from the desk's store."""
    desk.files["input"] = content
    assignment = separator.assignment(desk, _UPLOAD, max_bytes=1 << 31, max_seconds=24 * 3600)
    return _run(assignment, folder / "fetch", model, measured)


def separate(model: Model, desk: DeskDouble, folder: Path, measured: bool = False) -> Spent:
    """Separate the fetched song; a folder may be reused."""
    spent = _run(separator.assignment(desk, model=model.name), folder / "separate", model, measured)
    timings = desk.json("manifest.json")["timings"]
    return replace(spent, first_block=timings["first_block"], first_block_cpu=timings["first_block_cpu"])


def children_cpu() -> float:
    """Return the CPU seconds of this process's terminated children."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _run(assignment: Assignment, folder: Path, model: Model, measured: bool) -> Spent:
    before, since = children_cpu(), time.monotonic()
    environment = {"STEMYARD_MODEL_DIR": str(model.folder), "STEMYARD_DEVICE": model.device}
    ended = separator.run(assignment, folder, measured, **environment)
    wall = time.monotonic() - since
    if ended.exit_code:
        raise SystemExit(ended.output)
    return Spent(wall, children_cpu() - before, ended.peak_mebibytes)


def figures(engine: str, model: Model, lengths: list[float], repeats: int) -> Iterator[Figure]:
    """Yield the figures of an engine; the best of several runs of each song is reported."""
    peaks: dict[float, float] = {}
    for minutes in lengths:
        content = encoded(song(minutes * 60))
        runs = [stages(model, content) for _ in range(repeats)]
        peaks[minutes] = max(separated.peak_mebibytes for _, separated in runs)
        yield from _of_length(engine, minutes, runs)
    shortest, longest = min(peaks), max(peaks)
    if longest > shortest:
        growth = peaks[longest] - peaks[shortest]
        yield Figure(f"{engine}.memory_growth_{shortest:g}_to_{longest:g}_min", growth, "MiB", 64)


def _of_length(engine: str, minutes: float, runs: list[tuple[Spent, Spent]]) -> Iterator[Figure]:
    seconds, name = minutes * 60, f"{minutes:g}_min"
    speed, start = (20, 1.0) if engine == "spleeter" else (None, None)
    fetched, separated = (min(stage, key=lambda each: each.wall) for stage in zip(*runs, strict=True))
    both, cpu = fetched.wall + separated.wall, fetched.cpu + separated.cpu
    yield Figure(f"{engine}.pipeline_{name}", seconds / both, "x_real_time", speed, "more")
    yield Figure(f"{engine}.separate_{name}", seconds / separated.wall, "x_real_time", speed, "more")
    yield Figure(f"{engine}.pipeline_cpu_{name}", _CORES * seconds / cpu, "x_if_2_idle_cores")
    yield Figure(f"{engine}.first_block_{name}", separated.first_block, "s", start)
    yield Figure(f"{engine}.fetch_peak_{name}", fetched.peak_mebibytes, "MiB")
    yield Figure(f"{engine}.separate_peak_{name}", separated.peak_mebibytes, "MiB")
