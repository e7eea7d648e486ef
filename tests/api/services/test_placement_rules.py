"""Requests for existing tracks."""

from typing import Any

import pytest

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import MirrorEntry
from stemyard_api.errors import BeingDeletedError, ClaimsFullError, NameConflictError
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.services.order import Order, build_order
from stemyard_api.services.placement_rules import Hit, Miss, is_hit, place, plan_join
from stemyard_contract.mirror import record_of
from tests.api import tracks
from tests.api.settings_for_tests import settings

NOW = 1767323100.0  # 2026-01-02T03:05:00Z, just after the tracks below ended
MODEL = "spleeter-2stems"


def order(key_id: str = "default", **body: Any) -> Order:
    request = SeparationRequest.model_validate({"search_query": "Song", **body})
    return build_order(request, Principal(key_id), settings())


def resource(status: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **metadata: Any) -> Any:
    manifest = order().manifest("stemyard")
    manifest["spec"].update(spec or {})
    return tracks.resource(manifest, status, **metadata)


def claim(key: str) -> dict[str, str]:
    return {"key": key}


UID = {"op": "test", "path": "/metadata/uid", "value": "u1"}
RERUN = [
    {"op": "test", "path": "/spec/run", "value": 1},
    {"op": "replace", "path": "/spec/run", "value": 2},
    {"op": "add", "path": "/spec/cancel", "value": False},
]


@pytest.mark.parametrize("status", [{}, tracks.status_completed()])
def test_a_track_of_this_key_is_served_unchanged(status: dict[str, Any]) -> None:
    plan = plan_join(resource(status), order(), MODEL, NOW)
    assert (plan.patch, plan.runs_again) == ([], False)


@pytest.mark.parametrize("status", [tracks.status_failed(), tracks.status_failed(cancelled=True)])
def test_a_failed_or_cancelled_track_runs_again(status: dict[str, Any]) -> None:
    plan = plan_join(resource(status), order(), MODEL, NOW)
    assert plan.patch == [UID, *RERUN]
    assert plan.runs_again


def test_a_request_of_higher_priority_raises_a_running_tracks_priority() -> None:
    waiting = resource({}, {"priority": 3})
    raised = [
        {"op": "test", "path": "/spec/priority", "value": 3},
        {"op": "replace", "path": "/spec/priority", "value": 5},
    ]
    assert plan_join(waiting, order(priority=5), MODEL, NOW).patch == [UID, *raised]
    for less in (3, 0, -5):
        assert plan_join(waiting, order(priority=less), MODEL, NOW).patch == []
    assert plan_join(resource(tracks.status_completed(), {"priority": 3}), order(priority=5), MODEL, NOW).patch == []


def test_a_new_run_has_its_requests_priority() -> None:
    plan = plan_join(resource(tracks.status_failed(), {"priority": 3}), order(), MODEL, NOW)
    assert plan.patch[-1] == {"op": "replace", "path": "/spec/priority", "value": 0}


def test_a_request_of_higher_priority_is_a_miss() -> None:
    waiting = record_of(resource({"cacheKey": order().content_key}, {"priority": 3}))
    assert isinstance(place(order(priority=3), MirrorEntry(waiting), NOW), Hit)
    assert isinstance(place(order(priority=4), MirrorEntry(waiting), NOW), Miss)


def test_a_rerun_under_way_is_joined() -> None:
    plan = plan_join(resource(tracks.status_failed(run=1), {"run": 2}), order(), MODEL, NOW)
    assert plan.patch == []
    assert not plan.record.finished


def test_a_run_that_is_being_cancelled_is_replaced() -> None:
    assert plan_join(resource(spec={"cancel": True}), order(), MODEL, NOW).patch == [UID, *RERUN]


def test_refresh_runs_a_completed_track_again_and_joins_one_under_way() -> None:
    assert plan_join(resource(tracks.status_completed()), order(cache="refresh"), MODEL, NOW).patch == [UID, *RERUN]
    assert plan_join(resource(), order(cache="refresh"), MODEL, NOW).patch == []


def test_an_expired_track_runs_again() -> None:
    later = NOW + 31 * 24 * 3600
    assert plan_join(resource(tracks.status_completed()), order(), MODEL, later).patch == [UID, *RERUN]


def test_another_key_adds_its_claim() -> None:
    plan = plan_join(resource(tracks.status_completed()), order("studio", metadata={"a": 1}), MODEL, NOW)
    added = {"op": "add", "path": "/spec/claims/-", "value": {"key": "studio", "metadata": '{"a":1}'}}
    assert plan.patch == [UID, added]
    assert not plan.runs_again


def test_the_first_claim_creates_the_list() -> None:
    bare = resource()
    del bare["spec"]["claims"]
    added = {"op": "add", "path": "/spec/claims", "value": [claim("default")]}
    assert plan_join(bare, order(), MODEL, NOW).patch == [UID, added]


def test_a_rerun_and_a_claim_are_one_patch() -> None:
    plan = plan_join(resource(tracks.status_failed()), order("studio"), MODEL, NOW)
    assert plan.patch == [UID, *RERUN, {"op": "add", "path": "/spec/claims/-", "value": claim("studio")}]


def test_the_65th_key_is_served_without_a_claim() -> None:
    full = [claim(f"key-{number}") for number in range(64)]
    plan = plan_join(resource(tracks.status_completed(), {"claims": full}), order("studio"), MODEL, NOW)
    assert plan.patch == []


HOOK = "https://app.example.com/hook"


def test_a_new_webhook_is_added_to_the_existing_claim() -> None:
    plan = plan_join(resource(tracks.status_completed()), order(webhook_url=HOOK), MODEL, NOW)
    added = {"op": "add", "path": "/spec/claims/0/webhook", "value": HOOK}
    assert plan.patch == [UID, {"op": "test", "path": "/spec/claims/0/key", "value": "default"}, added]
    assert not plan.runs_again


def test_an_unchanged_webhook_changes_nothing() -> None:
    known = {"claims": [{"key": "default", "webhook": HOOK}]}
    for body in ({}, {"webhook_url": HOOK}, {"webhook_url": "HTTPS://App.example.com:443/hook#part"}):
        assert plan_join(resource(tracks.status_completed(), known), order(**body), MODEL, NOW).patch == []


def test_only_changed_events_are_written() -> None:
    chosen = ["separation.failed", "separation.started"]
    known = {"claims": [{"key": "default", "webhook": HOOK, "webhookEvents": chosen}]}
    same = order(webhook_url=HOOK, webhook_events=["separation.started", "separation.failed"])
    assert plan_join(resource(tracks.status_completed(), known), same, MODEL, NOW).patch == []
    path = "/spec/claims/0/webhookEvents"
    other = order(webhook_url=HOOK, webhook_events=["separation.completed"])
    patch = plan_join(resource(tracks.status_completed(), known), other, MODEL, NOW).patch
    assert {"op": "add", "path": path, "value": ["separation.completed"]} in patch
    patch = plan_join(resource(tracks.status_completed(), known), order(webhook_url=HOOK), MODEL, NOW).patch
    assert {"op": "remove", "path": path} in patch
    assert plan_join(resource(tracks.status_completed(), known), order(), MODEL, NOW).patch == []


def test_a_new_claim_contains_its_webhook() -> None:
    added = {"op": "add", "path": "/spec/claims/-", "value": {"key": "studio", "webhook": HOOK}}
    assert plan_join(resource(), order("studio", webhook_url=HOOK), MODEL, NOW).patch == [UID, added]
    assert order(webhook_url=HOOK).manifest("stemyard")["spec"]["claims"] == [{"key": "default", "webhook": HOOK}]
    assert order(webhook_url=HOOK).track_id == order().track_id


def test_the_65th_key_cannot_add_a_webhook() -> None:
    full = [claim(f"key-{number}") for number in range(64)]
    with pytest.raises(ClaimsFullError) as caught:
        plan_join(resource(tracks.status_completed(), {"claims": full}), order("studio", webhook_url=HOOK), MODEL, NOW)
    assert (caught.value.status, caught.value.code) == (409, "CLAIMS_FULL")


def test_a_resource_with_other_content_is_a_conflict() -> None:
    with pytest.raises(NameConflictError):
        plan_join(resource(spec={"source": {"searchQuery": "Another"}}), order(), MODEL, NOW)
    with pytest.raises(NameConflictError):
        plan_join(resource(labels={}), order(), MODEL, NOW)


def test_auto_in_a_kubectl_resource_is_the_default_model() -> None:
    assert plan_join(resource(spec={"model": "auto"}), order(), MODEL, NOW).patch == []


def test_a_resource_being_deleted_is_an_error() -> None:
    with pytest.raises(BeingDeletedError) as caught:
        plan_join(resource(deletionTimestamp="2026-01-02T03:04:06Z"), order(), MODEL, NOW)
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "2"})


@pytest.mark.parametrize(
    ("status", "spec", "key_id", "body", "answered"),
    [
        (tracks.status_completed(), {}, "default", {}, True),
        ({}, {}, "default", {}, True),
        (tracks.status_completed(), {}, "studio", {}, False),
        (tracks.status_completed(), {}, "default", {"cache": "refresh"}, False),
        (tracks.status_completed(), {}, "default", {"webhook_url": "https://app.example.com/hook"}, False),
        (tracks.status_failed(), {}, "default", {}, False),
        ({}, {"cancel": True}, "default", {}, False),
    ],
)
def test_the_mirror_answers_if_nothing_must_be_written(
    status: dict[str, Any], spec: dict[str, Any], key_id: str, body: dict[str, Any], answered: bool
) -> None:
    asked = order(key_id, **body)
    record = record_of(resource({**status, "cacheKey": asked.cache_key}, spec))
    assert isinstance(place(asked, MirrorEntry(record), NOW), Hit) is answered


def test_the_mirror_does_not_answer_for_another_cache_key() -> None:
    record = record_of(resource({**tracks.status_completed(), "cacheKey": "else"}))
    assert is_hit(record)
    assert isinstance(place(order(), MirrorEntry(record), NOW), Miss)
