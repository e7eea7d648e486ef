"""Measures the stems of golden mixes, their vocals at other levels, and around the seams of the network's inputs."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.quality.before import as_before
from stemyard_contract.findings import Stem
from stemyard_separator.engines.protocol import MixStatistics, SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.engines.stft import HOP
from tests.golden.mixes import Pair, measure, pairs
from tests.support.audio import RATE, Audio, si_sdr
from tests.support.spleeter_model import model_folder

_LEVELS = (0.0001, 0.01, 10.0, 100.0, 10_000.0)
_FRAMES = 512
_NEAR = RATE // 10


@dataclass(frozen=True)
class Comparison:
    """The quality of one stem in dB: as it was before, as it is, and with quality `best`."""

    mix: str
    stem: str
    before: float
    now: float
    best: float | None = None


def comparisons() -> Iterator[Comparison]:
    """Yield SI-SDR of published stems, of vocals at other levels, and SDR of vocals within 0.1 s of seams."""
    engine, best = _engine("balanced"), _engine("best")
    for name, make in pairs().items():
        pair = make()
        with as_before():
            before = _published(engine, pair)
        now, wide = _published(engine, pair), _published(best, pair)
        yield from (Comparison(name, stem, before[stem], now[stem], wide[stem]) for stem in now)
    for factor in _LEVELS:
        vocals, instrumental = (factor * each for each in pairs()["speech"]())
        with as_before():
            before_level = si_sdr(vocals, _vocals(engine, vocals + instrumental))
        now_level = si_sdr(vocals, _vocals(engine, vocals + instrumental))
        yield Comparison(f"speech x {factor:g}", Stem.VOCALS, before_level, now_level)
    yield from _seams(engine)


def _engine(preset: str) -> SeparationEngine:
    return load_engine(EngineOptions("spleeter-2stems", model_folder(), 2, preset=preset))


def _published(engine: SeparationEngine, pair: Pair) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return measure(engine, pair, Path(folder))


def _vocals(engine: SeparationEngine, mix: Audio) -> Audio:
    mono = mix.mean(axis=0)
    level = float(np.sqrt(mix.var(axis=1).mean()))
    statistics = MixStatistics(mix.shape[1], float(mono.mean()), float(mono.std(ddof=1)), level)
    blocks = (mix[:, start : start + RATE].astype(np.float32) for start in range(0, mix.shape[1], RATE))
    return np.concatenate([each[Stem.VOCALS] for each in engine.separate(blocks, statistics)], axis=1).astype(float)


def _seams(engine: SeparationEngine) -> Iterator[Comparison]:
    """Yield the quality where inputs of the network met before, and where they meet now."""
    vocals, instrumental = pairs()["long"]()
    mix = vocals + instrumental
    with as_before():
        before = _vocals(engine, mix)
    now, context = _vocals(engine, mix), int(engine.parameters["context"])
    frames = mix.shape[1] // HOP - _FRAMES // 4
    places = {
        "long, where seams were": range(_FRAMES, frames, _FRAMES),
        "long, where seams are": range(_FRAMES - context, frames, _FRAMES - 2 * context),
    }
    for name, ends in places.items():
        near = np.concatenate([np.arange(end * HOP - _NEAR, end * HOP + _NEAR) for end in ends])
        figures = (_sdr(vocals[:, near], each[:, near]) for each in (before, now))
        yield Comparison(name, Stem.VOCALS, *figures)


def _sdr(reference: Audio, estimate: Audio) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((estimate - reference) ** 2)))
