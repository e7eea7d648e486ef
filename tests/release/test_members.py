"""Each member of a type that code chooses by has its own branch: what is added to the contract alone is found here."""

import ast
import json
from pathlib import Path
from typing import Final, get_args

import numpy as np
import pytest

from charts.failure_reference import failure_reference
from stemyard_api.routes.capabilities import _format
from stemyard_contract.conditions import TERMINAL_PHASES, Phase
from stemyard_contract.event_types import ENDS
from stemyard_contract.failures import FAILURES, Stage
from stemyard_contract.findings import Stem
from stemyard_contract.models import MODELS, Engine, Flavour
from stemyard_contract.output import BIT_DEPTHS, AudioFormat, Output
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.webhook import EVENT_OF_PHASE
from stemyard_operator.decision.events import _PHASE_REASONS
from stemyard_separator.audio.formats import encoding_for
from stemyard_separator.audio.media import StemWriter, stored_codec
from stemyard_separator.cli.self_test import _CODECS
from stemyard_separator.engines.presets import PRESETS
from stemyard_separator.engines.registry import _LOADERS
from tests.operator.world import settings
from tests.support.page_words import evaluate

ROOT: Final = Path(__file__).parents[2]
PRODUCT: Final = ("api", "operator", "separator-image", "contract")
FORMATS: Final[tuple[AudioFormat, ...]] = get_args(AudioFormat)
CONTAINERS: Final = {"mp3": "mp3", "flac": "flac", "wav": "wav", "m4a": "mp4", "opus": "opus"}
UNREASONED_PHASES: Final = {Phase.PENDING, Phase.QUEUED}
"""Phases that no Event announces: they are where a run waits."""

every_format = pytest.mark.parametrize("name", FORMATS)
every_engine = pytest.mark.parametrize("engine", Engine)


@pytest.mark.parametrize("part", PRODUCT)
def test_the_last_case_of_a_match_is_checked_by_the_type_checker(part: str) -> None:
    for path in (ROOT / part).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.match_case)
                and isinstance(node.pattern, ast.MatchAs)
                and node.pattern.pattern is None
            ):
                assert ast.unparse(node.body[0]).startswith("assert_never("), f"{path}:{node.pattern.lineno}"


@every_format
def test_a_format_is_encoded_as_itself(name: AudioFormat, tmp_path: Path) -> None:
    encoding = encoding_for(Output(format=name))
    with StemWriter(tmp_path / name, encoding) as writer:
        writer.write(np.zeros((2, 44_100), np.float32))
    assert stored_codec(tmp_path / name) == _CODECS[name]
    assert encoding.container == CONTAINERS[name]
    assert (encoding.bit_rate == 0) == (name in BIT_DEPTHS), "a lossless format has a row in BIT_DEPTHS"


def test_formats_differ() -> None:
    outputs = [Output(format=name) for name in FORMATS]
    assert len({output.content_type for output in outputs}) == len(FORMATS)
    assert len(set(_CODECS.values())) == len(FORMATS)
    assert len({encoding_for(output).codec for output in outputs}) == len(FORMATS)


@every_format
def test_a_format_has_a_highest_sample_rate_and_is_listed(name: AudioFormat) -> None:
    assert Output(format=name, sample_rate=None if name == "opus" else "source").rate_for(192_000) >= 48_000
    assert _format(name)["name"] == name


@every_engine
def test_an_engine_has_a_loader_models_an_image_and_qualities(engine: Engine) -> None:
    models = [model for model in MODELS.values() if model.engine is engine]
    assert engine in _LOADERS
    assert models
    assert {model.flavour for model in models} <= set(Flavour)
    assert DEFAULT_QUALITY in engine.qualities


def test_each_flavour_has_an_image_of_its_own() -> None:
    deployment = settings(separator_image_cpu="cpu:1", separator_image_cuda="cuda:1")
    assert [deployment.image(flavour) for flavour in Flavour] == ["cpu:1", "cuda:1"]


def test_each_quality_is_a_preset() -> None:
    assert set(PRESETS) == set(Quality)


def test_each_terminal_phase_has_an_event() -> None:
    assert set(EVENT_OF_PHASE) == TERMINAL_PHASES
    assert set(EVENT_OF_PHASE.values()) == ENDS


def test_each_phase_has_an_event_of_kubernetes_or_none_on_purpose() -> None:
    assert set(_PHASE_REASONS) == set(Phase) - UNREASONED_PHASES


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_has_failures_in_the_page(stage: Stage) -> None:
    code = next(row.code for row in FAILURES.values() if row.stage is stage)
    assert f"| `{code}` |" in failure_reference()


@pytest.mark.parametrize(
    ("members", "word"),
    [
        (list(Stem), "words.stemName(it)"),
        (list(Quality), "words.effortName(it)"),
        (sorted(set(Phase) - TERMINAL_PHASES), "words.doing({ phase: it })"),
    ],
)
def test_the_web_page_has_a_word_for_each(members: list[str], word: str) -> None:
    shown = evaluate(f"{json.dumps([*members, 'unknown'])}.map((it) => {word})")
    assert len(set(shown)) == len(shown), "a member without a word looks like an unknown one"
    unknown_is_itself = shown[-1] == "unknown"
    assert [member for member in members if unknown_is_itself and member in shown] == []
