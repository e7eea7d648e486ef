"""Golden mixes: pairs of vocals and instrumental of different kinds, from the golden stems and synthesised.

`python -m tests.golden.mixes [MODEL...]` measures every mix with the models named (`spleeter-2stems` by default), whose
weights must be in the model folder, and records the result in `audio/si_sdr.json`, which the tests compare with.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stemyard_contract.output import Output
from stemyard_contract.separationjob import Stem
from stemyard_separator.audio.decode import decode
from stemyard_separator.audio.stems import FetchedAudio, Mix, RenderOptions, render_stems
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from tests.support.audio import GOLDEN, RATE, Audio, golden_stems, read, si_sdr, write_float_wav
from tests.support.spleeter_model import model_folder

RECORD = GOLDEN / "si_sdr.json"
SECONDS = 11
LONG_SECONDS = 40
Pair = tuple[Audio, Audio]
STEMS = (Stem.VOCALS, Stem.INSTRUMENTAL)
_VOWELS = ((800, 1150, 2900), (350, 2000, 2800), (270, 2140, 2950), (450, 800, 2830), (325, 700, 2700))
"""Formants in Hz of a, e, i, o, u (Peterson and Barney 1952, rounded)."""


def sung_vowels() -> Audio:
    """Return a melody of vowels: a pulse train with vibrato through three resonances each."""
    time = np.arange(RATE * SECONDS) / RATE
    notes = 220 * 2 ** (np.array([0, 3, 7, 5, 3, 8, 7, 0, -2, 0, 3]) / 12)
    note = notes[(time // 1).astype(int) % len(notes)]
    pitch = note * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time) * np.minimum(1, time % 1 / 0.3))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = np.array(_VOWELS)[(time // 1).astype(int) % len(_VOWELS)]
    voice = np.zeros_like(time)
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - formants[:, index]) / 90) ** 2) * 0.6**index for index in range(3))
        voice += np.asarray(gain) * np.sin(harmonic * phase) / harmonic**0.5
    voice *= np.minimum(1, np.minimum(time % 1, 1 - time % 1) / 0.05)
    return np.repeat((0.25 * voice / np.abs(voice).max())[None], 2, axis=0)


def plucked() -> Audio:
    """Return single plucked notes with silence in between."""
    time = np.arange(RATE * SECONDS) / RATE
    since = time % 2
    tone = sum(
        np.sin(2 * np.pi * 196 * overtone * time) * np.exp(-3 * overtone * since) / overtone
        for overtone in (1, 2, 3, 4)
    )
    return np.stack((0.2 * np.asarray(tone), 0.15 * np.asarray(tone)))


def pairs() -> dict[str, Callable[[], Pair]]:
    """Return every mix by name."""
    voice, band = golden_stems()
    noise = np.random.default_rng(17).standard_normal(band.shape).cumsum(axis=1)
    hiss = noise - np.stack([np.convolve(channel, np.ones(64) / 64, "same") for channel in noise])
    dense = band + 0.7 * np.roll(band, 9000, axis=1) + 0.02 * hiss / hiss.std()
    gate = (np.arange(voice.shape[1]) // RATE % 3 == 0).astype(float)
    return {
        "speech": lambda: (voice, band),
        "sung": lambda: (sung_vowels(), band),
        "dense": lambda: (0.7 * voice, dense),
        "sparse": lambda: (voice * gate, plucked()),
        "mono": lambda: (voice.mean(axis=0, keepdims=True), band.mean(axis=0, keepdims=True)),
        "clipped": lambda: (4 * voice, 4 * band),
        "quiet": lambda: (0.01 * voice, 0.01 * band),
        "antiphase": lambda: (antiphase(voice), antiphase(band)),
        "left": lambda: (left(voice), left(band)),
        "long": lambda: (repeated(voice), repeated(band)),
    }


def antiphase(stem: Audio) -> Audio:
    """Return the mono mix with one channel inverted, as by one swapped wire."""
    mono = stem.mean(axis=0)
    return np.stack((mono, -mono))


def left(stem: Audio) -> Audio:
    """Return the mono mix on the left, and silence on the right."""
    mono = stem.mean(axis=0)
    return np.stack((mono, np.zeros_like(mono)))


def repeated(stem: Audio) -> Audio:
    """Return a stem of `LONG_SECONDS`, longer than any input of a network."""
    samples = RATE * LONG_SECONDS
    return np.tile(stem, -(-samples // stem.shape[1]))[:, :samples]


def measure(engine: SeparationEngine, pair: Pair, folder: Path) -> dict[str, float]:
    """Return the SI-SDR of each published 24-bit FLAC in dB; a mix above full scale is clipped first."""
    mix = np.clip(pair[0] + pair[1], -1, 1)
    decoded = decode(write_float_wav(folder / "mix.wav", mix), folder / "audio.flac", 3600, lambda _: None)
    measured = decoded.measured
    audio = FetchedAudio(
        decoded.path,
        decoded.exponent,
        measured.samples,
        measured.peak,
        measured.mean,
        measured.standard_deviation,
        level=measured.level,
    )
    options = RenderOptions(STEMS, Output(format="flac"), "golden")
    with Mix(audio) as fetched:
        rendering = render_stems(engine, fetched, folder, options, lambda _: None)
    whole = [np.broadcast_to(each, (2, mix.shape[1])) for each in pair]
    return {stem: round(si_sdr(one, read(rendering.files[stem])), 2) for stem, one in zip(STEMS, whole, strict=True)}


def main() -> None:
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for model in sys.argv[1:] or ["spleeter-2stems"]:
        engine = load_engine(EngineOptions(model, model_folder(), 2, frozenset(STEMS)))
        record["spleeter" if model == "spleeter-2stems" else model] = results = {}
        for name, make in pairs().items():
            with tempfile.TemporaryDirectory() as folder:
                results[name] = measure(engine, make(), Path(folder))
            print(model, name, results[name])
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
