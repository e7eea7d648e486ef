"""Runs fetch and separate on songs of given lengths and takes wall time, CPU time, first block and peak memory."""

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.separation.end_to_end import Model
from bench.separation.figures import Figure
from stemyard_contract.handover import Assignment
from stemyard_contract.separationjob import Source, UploadSource
from tests.support import separator_process as separator
from tests.support.audio import CLIP, RATE, read, write_encoded
from tests.support.desk_double import DeskDouble

_UPLOAD = Source(upload=UploadSource(id="4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", owner="key"))
_CORES = 2


@dataclass(frozen=True)
class Spent:
    """What one stage took."""

    wall: float
    cpu: float
    peak_mebibytes: float
    first_block: float = 0.0


def song(minutes: float) -> bytes:
    """Return an mp3 of this length: a real clip again and again."""
    clip = read(CLIP) * 0.9
    repeats = int(np.ceil(minutes * 60 * RATE / clip.shape[1]))
    with tempfile.TemporaryDirectory() as folder:
        audio = np.tile(clip.astype(np.float32), repeats)[:, : int(minutes * 60 * RATE)]
        return write_encoded(Path(folder, "song.mp3"), audio, "libmp3lame").read_bytes()  # type: ignore[arg-type]


def stages(model: Model, content: bytes) -> tuple[Spent, Spent]:
    """Fetch and separate a song; return what each stage took, from the start of its process to its end."""
    folder = Path(tempfile.mkdtemp())
    try:
        with DeskDouble() as desk:
            desk.files["input"] = content
            given = separator.assignment(desk, _UPLOAD, max_bytes=1 << 31, max_seconds=24 * 3600)
            fetched = _run(given, folder / "fetch", model)
            separated = _run(separator.assignment(desk, model=model.name), folder / "separate", model)
            first = float(desk.json("manifest.json")["timings"].get("first_block", 0.0))
            return fetched, Spent(separated.wall, separated.cpu, separated.peak_mebibytes, first)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(given: Assignment, folder: Path, model: Model) -> Spent:
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = separator.run(given, folder, True, STEMYARD_MODEL_DIR=str(model.folder), STEMYARD_DEVICE="cpu")
    wall, after = time.monotonic() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.exit_code:
        raise SystemExit(ended.output)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, cpu, ended.peak_mebibytes)


def figures(engine: str, model: Model, lengths: list[float], repeats: int) -> Iterator[Figure]:
    """Yield the figures of an engine; of the shortest song the best of some runs counts."""
    peaks: dict[float, float] = {}
    for minutes in lengths:
        content = song(minutes)
        runs = [stages(model, content) for _ in range(repeats if minutes <= min(lengths) else 1)]
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
