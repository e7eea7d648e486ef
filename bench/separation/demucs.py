"""The demucs engine compared with stock demucs on the same network, clip and threads, interleaved; needs torch."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs.apply import apply_model

from bench.separation.figures import Figure
from bench.separation.songs import song
from stemyard_contract.separationjob import Stem
from stemyard_separator.engines.malloc import retain_freed_memory
from stemyard_separator.engines.protocol import MixStatistics, SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from tests.support.audio import RATE
from tests.support.demucs_model import FOUR, RELEASED, save_network

_STEMS = frozenset(Stem(name) for name in FOUR)
_TWO = frozenset({Stem.VOCALS, Stem.INSTRUMENTAL})
_CASES = (
    ("four_stems", _STEMS, "balanced"),
    ("two_stems", _TWO, "balanced"),
    ("four_stems_best", _STEMS, "best"),
)


@contextmanager
def random_model() -> Iterator[Path]:
    """Yield a model folder with random weights of the published shape, which cost the same to compute."""
    with tempfile.TemporaryDirectory() as folder:
        save_network(Path(folder), "htdemucs", FOUR, 1, **RELEASED)
        yield Path(folder)


def gpu() -> str:
    """Return the name of the GPU that the engines are compared on; empty if it is the CPU."""
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else ""


def _device() -> str:
    return "cuda" if gpu() else "cpu"


def figures(seconds: float, turns: int) -> Iterator[Figure]:
    """Yield speed and SNR, for four stems and for the usual two, which stock demucs cannot select.

    A GPU gets a song of eight times the length, so that start-up does not dominate.
    """
    on = _device()
    audio = song(seconds * (8 if on == "cuda" else 1)).astype(np.float32)
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        network = save_network(Path(folder), "htdemucs", FOUR, 1, **RELEASED)
        for name, stems, preset in _CASES if on == "cuda" else _CASES[:2]:
            engine = load_engine(EngineOptions("htdemucs", Path(folder), threads, stems, on, preset))
            yield from _compared(f"{on}_{name}", engine, network, audio, turns)


def _compared(name: str, engine: SeparationEngine, network: Any, audio: np.ndarray, turns: int) -> Iterator[Figure]:
    on, overlap = _device(), float(engine.parameters["overlap"])
    ours: list[tuple[float, np.ndarray]] = []
    stock: list[tuple[float, np.ndarray]] = []
    for _ in range(turns):
        with _torch_defaults():
            stock.append(_timed(lambda: _stock(network, audio, overlap)))
        ours.append(_timed(lambda: _ours(engine, audio)))
    exact = engine.parameters["precision"] == "float32"
    least = 1.3 if on == "cpu" else 2.0 if not exact else None
    seconds, unit = audio.shape[1] / RATE, "x_real_time" if on == "cuda" else "x_real_time_per_core"
    best, reference = min(each for each, _ in ours), min(each for each, _ in stock)
    yield Figure(f"demucs.{name}_speed", seconds / best, unit)
    yield Figure(f"demucs.{name}_stock_speed", seconds / reference, unit)
    yield Figure(f"demucs.{name}_against_stock", reference / best, "x", least, "more")
    # torch's default on a GPU is TF32 convolutions (10-bit mantissa), which are no reference
    everything = stock[0][1] if on == "cpu" else _stock(network, audio, overlap)
    output = ours[0][1]
    theirs = everything[-len(output) :]  # vocals are last
    error = np.sum((output - theirs) ** 2)
    yield Figure(
        f"demucs.{name}_snr", 10 * float(np.log10(np.sum(theirs**2) / error)), "dB", 60 if exact else 40, "more"
    )


@contextmanager
def _torch_defaults() -> Iterator[None]:
    """Restore torch's defaults for stock demucs, which the engine changes for the whole process."""
    torch.backends.mha.set_fastpath_enabled(True)
    torch.backends.cudnn.allow_tf32 = True
    retain_freed_memory(False)
    yield
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.cudnn.allow_tf32 = False
    retain_freed_memory(not gpu())


def _timed(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return CPU seconds on a CPU, wall seconds on a GPU, and the result."""
    clock = time.perf_counter if gpu() else time.process_time
    since = clock()
    done = run()
    return clock() - since, done


def _stock(network: Any, audio: np.ndarray, overlap: float) -> np.ndarray:
    mix = torch.from_numpy(audio)
    mean, scale = mix.mean(0).mean(), mix.mean(0).std() + 1e-8
    with torch.no_grad():
        out = apply_model(network, ((mix - mean) / scale)[None], shifts=0, overlap=overlap, device=_device())[0]
    return np.asarray((out * scale + mean).cpu().numpy())


def _ours(engine: SeparationEngine, audio: np.ndarray) -> np.ndarray:
    mono = audio.mean(axis=0)
    track = MixStatistics(audio.shape[1], float(mono.mean()), float(mono.std(ddof=1)))
    blocks = (audio[:, start : start + RATE] for start in range(0, audio.shape[1], RATE))
    parts = list(engine.separate(blocks, track))
    names = [name for name in FOUR if Stem(name) in parts[0]]
    return np.stack([np.concatenate([part[Stem(name)] for part in parts], axis=1) for name in names])
