"""Golden mixes: no engine may become worse than it was by 0.2 dB on any stem of any of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from stemyard_separator.engines.protocol import Engine
from stemyard_separator.engines.registry import Loading, load_engine
from tests.golden.mixes import RECORD, STEMS, measure, pairs
from tests.support.spleeter_model import model_folder

MOST_DROP = 0.2
RECORDED: dict[str, dict[str, float]] = json.loads(RECORD.read_text())["spleeter"]


@pytest.fixture(scope="module")
def spleeter() -> Engine:
    return load_engine(Loading("spleeter-2stems", model_folder(), 2))


@pytest.mark.parametrize("name", RECORDED)
def test_a_mix_is_separated_as_well_as_ever(spleeter: Engine, tmp_path: Path, name: str) -> None:
    pair = pairs()[name]()
    assert min(np.sqrt(np.mean(stem**2)) for stem in pair) > 1e-4, "both stems can be heard"

    reached = measure(spleeter, pair, tmp_path)

    print(name, reached, "recorded", RECORDED[name])
    for stem in STEMS:
        assert reached[stem] >= RECORDED[name][stem] - MOST_DROP


def test_every_mix_is_recorded() -> None:
    assert set(RECORDED) == set(pairs())
    assert len(RECORDED) >= 6
