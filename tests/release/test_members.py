"""Each member of a type that code chooses by has its own branch: what is added to the contract alone is found here."""

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np
import pytest

from charts.failure_reference import failure_reference
from stemyard_api.routes.capabilities import _format
from stemyard_contract.conditions import TERMINAL_PHASES, Phase
from stemyard_contract.event_types import ENDS
from stemyard_contract.failures import FAILURES, FailureCode, Stage, failure_of_exit_code
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


def enumerated(names: Sequence[str], last: str = "and") -> str:
    """Names as a sentence lists them: `mp3, m4a and opus`."""
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


LOSSY: Final = enumerated([name for name in FORMATS if name not in BIT_DEPTHS])
LOSSLESS: Final = enumerated([name for name in FORMATS if name in BIT_DEPTHS])
EVERY_FORMAT: Final = enumerated(FORMATS, "or")
SENTENCES: Final = {
    "api/stemyard_api/schemas/requests.py": (f"second of {LOSSY}.", f"sample of {LOSSLESS},"),
    "cli/stemyard_cli/commands/separate.py": (EVERY_FORMAT, f"second of {LOSSY}."),
    "cli/stemyard_kubectl/commands/run.py": (EVERY_FORMAT, f"second of {LOSSY}."),
    "cli/stemyard_mcp/tools.py": (EVERY_FORMAT,),
    "contract/stemyard_contract/output.py": (
        f"rate of {LOSSY}, in kbit/s; ignored for {LOSSLESS}.",
        f"sample of {LOSSLESS},",
    ),
    "docs/01-separator.md": tuple(f"\n| `{name}` " for name in FORMATS),
    "separator-image/stemyard_separator/cli/arguments.py": (f"of {LOSSY}", f"of {LOSSLESS};"),
}
"""What users read of formats, by file."""

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


@pytest.mark.parametrize("name", SENTENCES)
def test_what_users_read_names_every_format(name: str) -> None:
    text = (ROOT / name).read_text()
    assert [sentence for sentence in SENTENCES[name] if sentence not in text] == []


def test_the_resource_accepts_a_bit_depth_of_each_lossless_format() -> None:
    extra = Output.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    said = json.dumps(extra["x-kubernetes-validations"])
    assert f"self.format in {list(BIT_DEPTHS)}" in said
    assert f"bitDepth is for {LOSSLESS} only" in said


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


def test_each_failure_code_can_happen() -> None:
    """A code that nothing ends with is a promise that clients write branches for."""
    tables = {ROOT / f"contract/stemyard_contract/{name}.py" for name in ("failures", "remedies")}
    files = [path for part in PRODUCT for path in (ROOT / part).rglob("*.py") if path not in tables]
    text = "\n".join(path.read_text() for path in files)
    never = {code for code in FailureCode if not re.search(rf"\b{code}\b", text)}
    assert never == {failure_of_exit_code(1).code}, "only that of unknown exit codes is named by the table alone"


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
