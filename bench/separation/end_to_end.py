"""CPU time of both stages relative to the bare separation of the same file in a warm process.

A stage's work starts with its code (imports included) and ends with its commit mark; the pod's start is reported
separately. The bare separation is the engine's loop over samples in memory, in this process, after a warm-up.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bench.separation.figures import Figure
from bench.separation.songs import encoded, song
from bench.separation.stages import Model, children_cpu, fetch, separate, stages
from stemyard_contract.separationjob import Stem
from stemyard_separator.engines.protocol import MixStatistics, SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.process import available_cores
from tests.support.audio import RATE, Audio
from tests.support.desk_double import DeskDouble

_STEMS = frozenset({Stem.VOCALS, Stem.INSTRUMENTAL})
_TARGETS = {60: 1.12, 240: 1.06}
"""Maximum ratio by seconds of audio."""


def figures(model: Model, lengths: list[int], turns: int) -> Iterator[Figure]:
    """Yield the ratio for each length, both sides interleaved, and the CPU time before the first sample."""
    engine = load_engine(EngineOptions(model.name, model.folder, available_cores(), _STEMS, "cpu"))
    for seconds in lengths:
        audio = song(seconds)
        content = encoded(audio)
        bare, whole = _turns(partial(_bare, engine, audio), partial(_both, model, content), turns)
        name, most = f"{model.name}.{seconds}_s", _TARGETS.get(seconds) if model.promised else None
        yield Figure(f"{name}_bare", bare, "cpu_s")
        yield Figure(f"{name}_both_jobs", whole, "cpu_s")
        yield Figure(f"{name}_both_jobs_over_bare", whole / bare, "x", most)
    yield from _before_the_first_sample(model, engine, turns)


def _turns(bare: Callable[[], float], whole: Callable[[], float], turns: int) -> tuple[float, float]:
    bare()
    pairs = [(bare(), whole()) for _ in range(turns)]
    return min(each for each, _ in pairs), min(each for _, each in pairs)


def _bare(engine: SeparationEngine, audio: Audio) -> float:
    mono, samples = audio.mean(axis=0), audio.astype(np.float32)
    track = MixStatistics(audio.shape[1], float(mono.mean()), float(mono.std(ddof=1)))
    since = time.process_time()
    for _ in engine.separate((samples[:, start : start + RATE] for start in range(0, audio.shape[1], RATE)), track):
        pass
    return time.process_time() - since


def _both(model: Model, content: bytes) -> float:
    fetched, separated = stages(model, content, measured=False)
    return fetched.cpu + separated.cpu


def _before_the_first_sample(model: Model, engine: SeparationEngine, turns: int) -> Iterator[Figure]:
    """Yield the CPU time until the first block of one second of audio, minus the time of separating it when warm."""
    audio = song(1)
    separating = min(_bare(engine, audio) for _ in range(turns))
    imports: list[float] = []
    first_blocks: list[float] = []
    with DeskDouble() as desk, tempfile.TemporaryDirectory() as name:
        fetch(model, desk, Path(name), encoded(audio))
        for turn in range(turns):
            imports.append(_import_cpu(model.library))
            first_blocks.append(separate(model, desk, Path(name, str(turn))).first_block_cpu)
    spent, imported = min(first_blocks) - separating, min(imports)
    yield Figure(f"{model.name}.before_first_sample", spent, "cpu_s", None if model.promised else 1.0)
    yield Figure(f"{model.name}.import_{model.library}", imported, "cpu_s")
    most = 1.15 if model.promised else None
    yield Figure(f"{model.name}.before_first_sample_over_import", spent / imported, "x", most)


def _import_cpu(library: str) -> float:
    before = children_cpu()
    subprocess.run([sys.executable, "-c", f"import {library}"], check=True)
    return children_cpu() - before
