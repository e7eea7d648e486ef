"""Every response has the original service's fields and types, and exactly the documented fields."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from stemyard_api.schemas.examples import WEBHOOKS
from stemyard_api.schemas.webhook_bodies import CompletedWebhook, FailedWebhook, ProcessingWebhook, WebhookTest
from stemyard_api.services import rendering
from stemyard_api.services.rendering import StemLinks
from stemyard_contract import webhook
from stemyard_contract.handover import WorkStage
from stemyard_contract.output import Output
from stemyard_contract.separationjob import TERMINAL_PHASES, Phase, Stem
from tests.api import tracks

GOLDEN = Path(__file__).parents[2] / "golden" / "api"
LINKS = StemLinks(
    {Stem.VOCALS: "https://domain.com/vocals.mp3", Stem.INSTRUMENTAL: "https://domain.com/instrumental.mp3"},
    1234567921.5 + 2592000,
)
SEPARATING = tracks.known(phase=Phase.SEPARATING)

ANSWERS: dict[str, Any] = {
    "accepted": rendering.accepted(tracks.record(), "default"),
    "cached": rendering.cached(tracks.completed(), LINKS, "default"),
    "processing": rendering.processing(SEPARATING, tracks.progress(), "default"),
    "completed": rendering.completed(tracks.completed(), LINKS, "default"),
    "failed": rendering.failed(tracks.failed(), None, "default"),
}


def load(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def shape(value: Any) -> Any:
    """Return the value with its leaves replaced by the names of their JSON types."""
    if isinstance(value, dict):
        return {key: shape(child) for key, child in value.items()}
    return type(value).__name__


@pytest.mark.parametrize("name", ANSWERS)
def test_responses_match_the_golden_files(name: str) -> None:
    answer = json.loads(json.dumps(ANSWERS[name]))
    assert answer == load(name)
    assert shape(answer) == shape(load(name))


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (Output(), {"format": "mp3", "bitrate": 320}),
        (Output(format="mp3", vbr_quality=2), {"format": "mp3", "vbr_quality": 2}),
        (Output(format="flac"), {"format": "flac", "bit_depth": 24}),
        (Output(format="wav", bit_depth=16), {"format": "wav", "bit_depth": 16}),
    ],
)
def test_states_and_lists_tell_how_stems_are_encoded(output: Output, shown: dict[str, Any]) -> None:
    record = tracks.completed(output=output, stems=[Stem.BASS], quality="best")
    for answer in (rendering.completed(record, LINKS, "default"), rendering.summary(record, None, "default")):
        encoding = {name: answer.get(name) for name in ("format", "bitrate", "vbr_quality", "bit_depth")}
        assert {name: value for name, value in encoding.items() if value is not None} == shown
        assert (answer["stems"], answer["quality"]) == (["bass"], "best")


@pytest.mark.parametrize("name", ANSWERS)
def test_responses_have_all_fields_of_the_original_service(name: str) -> None:
    seed, answer = load(f"original/{name}"), json.loads(json.dumps(ANSWERS[name]))
    assert {key: shape(answer[key]) for key in seed} == shape(seed)
    for constant in ("status", "message", "progress", "cached"):
        if constant in seed:
            assert answer[constant] == seed[constant]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in TERMINAL_PHASES])
def test_every_phase_before_the_end_is_processing(phase: Phase) -> None:
    answer = rendering.processing(tracks.record(phase=phase), None, "default")
    assert (answer["status"], answer["phase"]) == ("processing", phase)


def test_started_at_is_never_null() -> None:
    assert rendering.processing(tracks.record(), None, "default")["started_at"] == tracks.CREATED
    assert rendering.failed(tracks.failed(started_at=None), None, "default")["started_at"] == tracks.CREATED


def test_a_new_run_shows_nothing_of_the_old_one() -> None:
    rerun = tracks.failed(run=2, progress=90)
    answer = rendering.processing(rerun, tracks.progress(progress=80.0), "default")
    assert (answer["progress"], answer["started_at"], answer["phase"]) == (0.0, tracks.CREATED, "Pending")
    assert "step" not in answer


@pytest.mark.parametrize("stale", [{"uid": "u0"}, {"run": 2}])
def test_progress_of_another_run_or_resource_is_ignored(stale: dict[str, Any]) -> None:
    answer = rendering.processing(SEPARATING, tracks.progress(**stale), "default")
    assert answer["progress"] == 0.0


def test_processing_never_shows_100() -> None:
    assert rendering.processing(SEPARATING, tracks.progress(progress=100.0), "default")["progress"] == 99.0


def test_cancelled_is_failed_with_its_code() -> None:
    answer = rendering.failed(tracks.failed(phase=Phase.CANCELLED, failure=None), None, "default")
    assert (answer["status"], answer["code"], answer["phase"]) == ("failed", "CANCELLED", "Cancelled")
    assert answer["error"]
    assert answer["progress"] == 0


def test_last_progress_is_the_progress_at_failure() -> None:
    reached = tracks.progress(stage=WorkStage.FETCH, progress=7.5)
    assert rendering.failed(tracks.failed(), reached, "default")["last_progress"] == 7.5


def test_metadata_is_echoed_to_its_own_key_only() -> None:
    assert rendering.completed(tracks.completed(), LINKS, "other")["metadata"] == {"secret": 1}
    assert "metadata" not in rendering.completed(tracks.completed(), LINKS, "third")


def test_only_requested_stems_are_linked() -> None:
    links = StemLinks({Stem.VOCALS: "https://domain.com/v.mp3"})
    answer = rendering.completed(tracks.completed(), links, "default")
    assert answer["result"] == {"vocals_url": "https://domain.com/v.mp3", "track_id": tracks.TRACK}
    assert "expires_at" not in answer


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CompletedWebhook, webhook.completed_body("t", LINKS.urls, 1.0)),
        (FailedWebhook, webhook.failed_body("t", "why", 1.0)),
        (WebhookTest, webhook.test_body("t", 1.0)),
        (ProcessingWebhook, webhook.processing_body("t", 42, 1.0, Phase.SEPARATING)),
    ],
)
def test_webhooks_match_the_openapi_document(model: type[dict[str, Any]], body: bytes) -> None:
    payload = json.loads(body)
    assert TypeAdapter(model).validate_json(body, strict=True) == payload
    assert set(payload) == set(model.__annotations__)
    assert shape(payload) == shape(WEBHOOKS[model.__name__])


def test_peaks_are_returned_with_the_links() -> None:
    outlined = StemLinks(LINKS.urls, LINKS.expires_at, {Stem.VOCALS: "https://domain.com/vocals.peaks.json"})
    for answer in (
        rendering.completed(tracks.completed(), outlined, "default"),
        rendering.cached(tracks.completed(), outlined, "default"),
    ):
        assert answer["peaks_urls"] == {"vocals": "https://domain.com/vocals.peaks.json"}
        assert "peaks_urls" not in answer["result"]


@pytest.mark.parametrize(
    ("phase", "stage", "step"),
    [
        (Phase.FETCHING, WorkStage.FETCH, "download"),
        (Phase.QUEUED, WorkStage.FETCH, None),
        (Phase.SEPARATING, WorkStage.FETCH, None),
        (Phase.SEPARATING, WorkStage.SEPARATE, "download"),
    ],
)
def test_a_step_is_shown_while_its_stage_runs(phase: Phase, stage: WorkStage, step: str | None) -> None:
    last = tracks.progress(stage=stage, step="download")
    assert rendering.processing(tracks.known(phase=phase), last, "default").get("step") == step
