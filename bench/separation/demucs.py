"""The demucs engine beside stock demucs on the same network, clip and threads, in turns; needs torch."""

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
from stemyard_contract.separationjob import Stem
from stemyard_separator.engines.heap import keep_freed_memory
from stemyard_separator.engines.protocol import Engine, Track
from stemyard_separator.engines.registry import Loading, load_engine
from tests.support.audio import CLIP, RATE, read
from tests.support.demucs_model import FOUR, RELEASED, save_network

_STEMS = frozenset(Stem(name) for name in FOUR)
_TWO = frozenset({Stem.VOCALS, Stem.INSTRUMENTAL})


@contextmanager
def random_model() -> Iterator[Path]:
    """Yield a model folder with random weights in the published shape, which do not change the work."""
    with tempfile.TemporaryDirectory() as folder:
        save_network(Path(folder), "htdemucs", FOUR, 1, **RELEASED)
        yield Path(folder)


def figures(seconds: float, turns: int) -> Iterator[Figure]:
    """Yield speed and agreement; of four stems, and of the two that most ask for: stock demucs has no such choice."""
    clip = read(CLIP)
    audio = np.tile(clip, int(np.ceil(seconds * RATE / clip.shape[1])))[:, : int(seconds * RATE)].astype(np.float32)
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        network = save_network(Path(folder), "htdemucs", FOUR, 1, **RELEASED)
        for device in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
            for preset in ("balanced", "best") if device == "cuda" else ("balanced",):
                engine = load_engine(Loading("htdemucs", Path(folder), threads, _STEMS, device, preset))
                yield from _compared(f"{device}_{preset}", engine, network, audio, device, turns)
        two = load_engine(Loading("htdemucs", Path(folder), threads, _TWO, "cpu", "balanced"))
        yield from _compared("cpu_two_stems", two, network, audio, "cpu", turns)


def _compared(name: str, engine: Engine, network: Any, audio: np.ndarray, device: str, turns: int) -> Iterator[Figure]:
    overlap = float(engine.parameters["overlap"])
    ours: list[tuple[float, np.ndarray]] = []
    stock: list[tuple[float, np.ndarray]] = []
    for _ in range(turns):
        _as_torch_comes(True)
        stock.append(_timed(lambda: _stock(network, audio, device, overlap)))
        _as_torch_comes(False, device)
        ours.append(_timed(lambda: _ours(engine, audio)))
    least = 1.3 if device == "cpu" else 2.0
    seconds, unit = audio.shape[1] / RATE, "x_real_time" if torch.cuda.is_available() else "x_real_time_per_core"
    best, reference = min(each for each, _ in ours), min(each for each, _ in stock)
    yield Figure(f"demucs.{name}_speed", seconds / best, unit)
    yield Figure(f"demucs.{name}_stock_speed", seconds / reference, unit)
    yield Figure(f"demucs.{name}_against_stock", reference / best, "x", least, "more")
    reached, theirs = ours[0][1], stock[0][1][-len(ours[0][1]) :]  # the vocals are last
    error = np.sum((reached - theirs) ** 2)
    target = 60 if engine.parameters["precision"] == "float32" else 40
    yield Figure(f"demucs.{name}_snr", 10 * float(np.log10(np.sum(theirs**2) / error)), "dB", target, "more")


def _as_torch_comes(stock: bool, device: str = "cpu") -> None:
    """Set what the engine sets for its whole process back for stock demucs, or again for the engine."""
    torch.backends.mha.set_fastpath_enabled(stock)
    keep_freed_memory(not stock and device == "cpu")


def _timed(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return CPU seconds where the processor computes, wall seconds where a GPU does."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    since = clock()
    done = run()
    return clock() - since, done


def _stock(network: Any, audio: np.ndarray, device: str, overlap: float) -> np.ndarray:
    mix = torch.from_numpy(audio)
    mean, scale = mix.mean(0).mean(), mix.mean(0).std() + 1e-8
    with torch.no_grad():
        out = apply_model(network, ((mix - mean) / scale)[None], shifts=0, overlap=overlap, device=device)[0]
    return np.asarray((out * scale + mean).cpu().numpy())


def _ours(engine: Engine, audio: np.ndarray) -> np.ndarray:
    mono = audio.mean(axis=0)
    track = Track(audio.shape[1], float(mono.mean()), float(mono.std(ddof=1)))
    blocks = (audio[:, start : start + RATE] for start in range(0, audio.shape[1], RATE))
    parts = list(engine.separate(blocks, track))
    given = [name for name in FOUR if Stem(name) in parts[0]]
    return np.stack([np.concatenate([part[Stem(name)] for part in parts], axis=1) for name in given])
