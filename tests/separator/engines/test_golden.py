"""Golden mixes: the SI-SDR of every stem must stay within 0.2 dB of the recorded value."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.models import MODELS, Engine
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.models.folder import read_index
from tests.golden.mixes import RECORD, STEMS, measure, pairs
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
