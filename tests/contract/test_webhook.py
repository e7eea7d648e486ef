"""Webhooks: the original service's bodies, ids, and the retry schedule."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_contract import webhook
from stemyard_contract.separationjob import Phase, Stem
from stemyard_contract.webhook import EventType

TRACK = "6d6cbd4f-9c1c-5f51-b8a0-0a4f6a9b1f2e"
URL = "https://app.example.com/hooks"
BODY = webhook.completed_body(
    TRACK, {stem: f"https://stems.example.com/{stem}.mp3" for stem in (Stem.VOCALS, Stem.INSTRUMENTAL)}, 1234567890.0
)


SUCCESS = (
    '{"status": "completed", "track_id": "TRACK", "result": {"vocals_url": "https://stems.example.com/vocals.mp3", '
    '"instrumental_url": "https://stems.example.com/instrumental.mp3", "track_id": "TRACK"}, "progress": 100, '
    '"created_at": 1234567890.0}'
)
FAILURE = '{"status": "failed", "track_id": "TRACK", "error": "No \\u266a", "progress": 0, "created_at": 1234567890.0}'


def test_the_bodies_are_those_of_the_original_service() -> None:
    assert BODY.decode() == SUCCESS.replace("TRACK", TRACK)
    assert webhook.failed_body(TRACK, "No ♪", 1234567890.0).decode() == FAILURE.replace("TRACK", TRACK)


def test_the_body_of_a_test_and_of_a_run_in_progress() -> None:
    head = f'"track_id": "{TRACK}", "progress"'
    assert webhook.test_body(TRACK, 1234567890.0).decode() == (
        f'{{"status": "test", {head}: 0, "created_at": 1234567890.0}}'
    )
    assert webhook.processing_body(TRACK, 42, 1234567890.0, Phase.SEPARATING).decode() == (
        f'{{"status": "processing", {head}: 42, "created_at": 1234567890.0, "phase": "Separating"}}'
    )


def test_the_event_is_that_of_the_phase_except_for_a_test() -> None:
    ends = (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)
    assert [webhook.event_of(phase) for phase in ends] == [EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED]
    assert webhook.event_of(Phase.COMPLETED, test=True) is EventType.TEST


@given(st.text(), st.floats(min_value=0, max_value=4e9))
def test_a_consumer_may_dump_what_it_parsed(error: str, created_at: float) -> None:
    body = webhook.failed_body(TRACK, error, created_at)
    assert json.dumps(json.loads(body)).encode() == body


def test_an_id_is_of_track_run_event_and_target() -> None:
    given_id = webhook.webhook_id(TRACK, 1, EventType.COMPLETED, URL)
    assert given_id == "39915f39-5df4-5a25-96ff-4b33758ce717"
    others = {
        webhook.webhook_id(TRACK + "x", 1, EventType.COMPLETED, URL),
        webhook.webhook_id(TRACK, 2, EventType.COMPLETED, URL),
        webhook.webhook_id(TRACK, 1, EventType.FAILED, URL),
        webhook.webhook_id(TRACK, 1, EventType.COMPLETED, URL + "/2"),
    }
    assert len(others | {given_id}) == 5
    of_progress = {webhook.webhook_id(TRACK, 1, EventType.PROGRESS, URL, progress) for progress in (0, 50, None)}
    assert len(of_progress) == 3
    of_registrations = {webhook.webhook_id(TRACK, 1, EventType.COMPLETED, URL, None, name) for name in ("a", "b", None)}
    assert len(of_registrations | {given_id}) == 3


def test_the_schedule_takes_about_three_days() -> None:
    minute, hour = 60, 3600
    recommended = (0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour)
    assert recommended == webhook.RETRY_SCHEDULE
    assert sum(webhook.RETRY_SCHEDULE) / hour == pytest.approx(75.6, abs=0.05)
