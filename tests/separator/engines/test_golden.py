"""Golden mixes: the SI-SDR of every stem must stay within 0.2 dB of the recorded value."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.findings import Stem
from stemyard_contract.models import MODELS, Engine
from stemyard_separator.engines.protocol import MixStatistics, SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.engines.stft import HOP
from stemyard_separator.models.folder import read_index
from tests.golden.mixes import RECORD, STEMS, measure, pairs
from tests.support.audio import CLIP, RATE, Audio, read, si_sdr
from tests.support.spleeter_model import model_folder

MAX_DROP = 0.2
RECORDS: dict[str, dict[str, dict[str, float]]] = json.loads(RECORD.read_text())
RECORDED = RECORDS["spleeter"]
DEMUCS = [name for name, model in MODELS.items() if model.engine is Engine.DEMUCS]


@pytest.fixture(scope="module")
def spleeter() -> SeparationEngine:
    return load_engine(EngineOptions("spleeter-2stems", model_folder(), 2))


@pytest.mark.parametrize("name", RECORDED)
def test_a_golden_mix_is_separated_as_well_as_recorded(spleeter: SeparationEngine, tmp_path: Path, name: str) -> None:
    pair = pairs()[name]()
    assert min(np.sqrt(np.mean(stem**2)) for stem in pair) > 1e-4, "both stems are audible"

    reached = measure(spleeter, pair, tmp_path)

    print(name, reached, "recorded", RECORDED[name])
    for stem in STEMS:
        assert reached[stem] >= RECORDED[name][stem] - MAX_DROP


def vocals_of(engine: SeparationEngine, mix: Audio) -> Audio:
    mono = mix.mean(axis=0)
    level = float(np.sqrt(mix.var(axis=1).mean()))
    statistics = MixStatistics(mix.shape[1], float(mono.mean()), float(mono.std(ddof=1)), level)
    blocks = (mix[:, start : start + RATE].astype(np.float32) for start in range(0, mix.shape[1], RATE))
    parts = [block[Stem.VOCALS] for block in engine.separate(blocks, statistics)]
    return np.concatenate(parts, axis=1).astype(np.float64)


@pytest.mark.parametrize("factor", [0.01, 10.0, 100.0, 1e4])
def test_the_level_of_a_float_file_does_not_change_its_separation(spleeter: SeparationEngine, factor: float) -> None:
    vocals, instrumental = pairs()["speech"]()

    reached = si_sdr(factor * vocals, vocals_of(spleeter, factor * (vocals + instrumental)))

    assert reached >= RECORDED["speech"]["vocals"] - 0.4


def sdr_around(places: list[int], vocals: Audio, estimate: Audio) -> float:
    """Return the signal-to-distortion ratio within 0.1 s of the places, in dB."""
    near = np.concatenate([np.arange(place - RATE // 10, place + RATE // 10) for place in places])
    error = estimate[:, near] - vocals[:, near]
    return float(10 * np.log10(np.sum(vocals[:, near] ** 2) / np.sum(error**2)))


def test_nothing_is_lost_at_the_seams_of_the_networks_inputs(spleeter: SeparationEngine) -> None:
    """The same places are compared with a separation whose seams are elsewhere; without context 2.2 dB are lost."""
    vocals, instrumental = pairs()["long"]()
    mix, lead = vocals + instrumental, 6 * RATE
    frames, context = int(spleeter.parameters["frames"]), int(spleeter.parameters["context"])
    ends = range(frames - context, mix.shape[1] // HOP - frames // 4, frames - 2 * context)
    seams = [end * HOP for end in ends]
    assert len(seams) >= 2

    at_seams = sdr_around(seams, vocals, vocals_of(spleeter, mix))
    delayed = vocals_of(spleeter, np.concatenate((mix[:, -lead:], mix), axis=1))[:, lead:]
    elsewhere = sdr_around(seams, vocals, delayed)

    print("SDR within 0.1 s of the seams:", round(at_seams, 2), "of the same places elsewhere:", round(elsewhere, 2))
    assert at_seams >= elsewhere - 0.5
    assert at_seams >= 9


def energy(audio: Audio, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    frequencies = np.fft.rfftfreq(audio.shape[1], 1 / RATE)
    return float(power[:, (frequencies >= low) & (frequencies < high)].sum())


def test_the_best_quality_keeps_the_vocals_of_a_song_up_to_16_khz(spleeter: SeparationEngine) -> None:
    wide = load_engine(EngineOptions("spleeter-2stems", model_folder(), 2, preset="best"))
    mix = read(CLIP)

    narrow, kept = (vocals_of(engine, mix) for engine in (spleeter, wide))

    assert (spleeter.parameters["bins"], wide.parameters["bins"]) == (1024, 1536)
    treble = energy(mix, 11_200, 15_900)
    assert energy(narrow, 11_200, 15_900) < 1e-6 * treble
    assert 0.1 * treble < energy(kept, 11_200, 15_900) < treble
    assert energy(kept - narrow, 0, 10_500) < 1e-3 * energy(narrow, 0, 10_500), "below 11 kHz they are the same"
    assert energy(kept, 16_200, 22_050) < 0.01 * energy(mix, 16_200, 22_050)


@pytest.mark.parametrize("name", ["speech", "sung"])
def test_the_best_quality_is_no_worse_below_11_khz(tmp_path: Path, name: str) -> None:
    wide = load_engine(EngineOptions("spleeter-2stems", model_folder(), 2, preset="best"))

    reached = measure(wide, pairs()[name](), tmp_path)

    assert all(reached[stem] >= RECORDED[name][stem] - MAX_DROP for stem in STEMS)


def test_every_mix_is_recorded() -> None:
    assert set(RECORDED) == set(pairs())
    assert len(RECORDED) >= 6


@pytest.mark.parametrize("model", DEMUCS)
def test_demucs_is_as_good_as_recorded_if_its_weights_are_installed(tmp_path: Path, model: str) -> None:
    if model not in read_index(model_folder()).models and f"{model}.vocals" not in read_index(model_folder()).models:
        pytest.skip(f"no weights of {model} are installed: its quality is NOT measured")
    if find_spec("torch") is None:
        pytest.skip(f"torch is not installed: the quality of {model} is NOT measured")
    recorded = RECORDS.get(model)
    assert recorded is not None, f"record it with `python -m tests.golden.mixes {model}`"
    engine = load_engine(EngineOptions(model, model_folder(), 2, frozenset(STEMS), "auto"))
    for name, make in pairs().items():
        reached = measure(engine, make(), tmp_path)
        print(model, name, reached, "recorded", recorded[name])
        assert min(reached[stem] - recorded[name][stem] for stem in STEMS) >= -MAX_DROP
