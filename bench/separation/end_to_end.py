"""Both stages' work over the bare separation of the same file in a process that has everything loaded.

Work begins with the stage's code (imports included) and ends with its commit mark; what a pod's start takes is told on
its own. The bare separation is the engine's own loop over samples that are in memory, in this process, warm.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.separation.figures import Figure
from stemyard_contract.handover import Assignment
from stemyard_contract.separationjob import Source, Stem, UploadSource
from stemyard_separator.cores import granted_cores
from stemyard_separator.engines.protocol import Engine, Track
from stemyard_separator.engines.registry import Loading, load_engine
from tests.support import separator_process as separator
from tests.support.audio import CLIP, RATE, Audio, read, write_encoded
from tests.support.desk_double import DeskDouble

_UPLOAD = Source(upload=UploadSource(id="4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", owner="key"))
_STEMS = frozenset({Stem.VOCALS, Stem.INSTRUMENTAL})
_TARGETS = {60: 1.12, 240: 1.06}
"""Largest ratio by seconds of audio."""


@dataclass(frozen=True)
class Model:
    """What is separated with."""

    name: str
    folder: Path
    library: str
    """What its engine is built on."""
    promised: bool = False
    """Whether the promised ratios are about it; spleeter's separation is so short that encoding outweighs it."""


def figures(model: Model, lengths: list[int], turns: int) -> Iterator[Figure]:
    """Yield the ratios for each length, both sides in turns, and what is spent before the first sample."""
    engine = load_engine(Loading(model.name, model.folder, granted_cores(), _STEMS, "cpu"))
    for seconds in lengths:
        audio = _song(seconds)
        content = _encoded(audio)
        bare, whole = _turns(partial(_bare, engine, audio), partial(_stages, model, content), turns)
        name, most = f"{model.name}.{seconds}_s", _TARGETS.get(seconds) if model.promised else None
        yield Figure(f"{name}_bare", bare, "cpu_s")
        yield Figure(f"{name}_both_jobs", whole, "cpu_s")
        yield Figure(f"{name}_both_jobs_over_bare", whole / bare, "x", most)
    yield from _before_the_first_sample(model, engine, turns)


def _turns(bare: Callable[[], float], whole: Callable[[], float], turns: int) -> tuple[float, float]:
    bare()
    pairs = [(bare(), whole()) for _ in range(turns)]
    return min(each for each, _ in pairs), min(each for _, each in pairs)


def _song(seconds: float) -> Audio:
    clip = read(CLIP) * 0.9
    return np.tile(clip, int(np.ceil(seconds * RATE / clip.shape[1])))[:, : int(seconds * RATE)]


def _encoded(audio: Audio) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_encoded(Path(folder, "song.mp3"), audio, "libmp3lame").read_bytes()


def _bare(engine: Engine, audio: Audio) -> float:
    mono, samples = audio.mean(axis=0), audio.astype(np.float32)
    track = Track(audio.shape[1], float(mono.mean()), float(mono.std(ddof=1)))
    since = time.process_time()
    for _ in engine.separate((samples[:, start : start + RATE] for start in range(0, audio.shape[1], RATE)), track):
        pass
    return time.process_time() - since


def _stages(model: Model, content: bytes) -> float:
    folder = Path(tempfile.mkdtemp())
    try:
        with DeskDouble() as desk:
            desk.files["input"] = content
            return _run(separator.assignment(desk, _UPLOAD), folder / "fetch", model) + _run(
                separator.assignment(desk, model=model.name), folder / "separate", model
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(given: Assignment, folder: Path, model: Model) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = separator.run(given, folder, STEMYARD_MODEL_DIR=str(model.folder), STEMYARD_DEVICE="cpu")
    if ended.exit_code:
        raise SystemExit(ended.output)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _before_the_first_sample(model: Model, engine: Engine, turns: int) -> Iterator[Figure]:
    """CPU until the first block of a second of audio, less what separating that takes when all is loaded."""
    audio = _song(1)
    separating = min(_bare(engine, audio) for _ in range(turns))
    imports: list[float] = []
    stages: list[float] = []
    with DeskDouble() as desk, tempfile.TemporaryDirectory() as name:
        desk.files["input"] = _encoded(audio)
        _run(separator.assignment(desk, _UPLOAD), Path(name, "fetch"), model)
        for turn in range(turns):
            imports.append(_python(model.library))
            _run(separator.assignment(desk, model=model.name), Path(name, str(turn)), model)
            stages.append(float(desk.json("manifest.json")["timings"]["first_block_cpu"]))
    spent, imported = min(stages) - separating, min(imports)
    yield Figure(f"{model.name}.before_first_sample", spent, "cpu_s", None if model.promised else 1.0)
    yield Figure(f"{model.name}.import_{model.library}", imported, "cpu_s")
    most = 1.15 if model.promised else None
    yield Figure(f"{model.name}.before_first_sample_over_import", spent / imported, "x", most)


def _python(library: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {library}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
