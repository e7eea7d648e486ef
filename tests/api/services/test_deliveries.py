"""A key's view of a track's webhooks, and the annotation that requests redelivery."""

from typing import Any

import pytest

from stemyard_api.auth.api_keys import Principal, Scope
from stemyard_api.services.deliveries import (
    count_pending,
    delivery_body,
    redelivery_patch,
    visible_attempts,
    visible_deliveries,
)
from stemyard_contract.mirror import AttemptRecord, record_of
from tests.api import tracks

A, B = Principal("team-a", frozenset({Scope.READ})), Principal("team-b", frozenset({Scope.READ}))
BOSS = Principal("boss")
NOTE = "stemyard.dev/redeliver"
IDS = [f"0f0f3c1c-6bb2-5f3c-8a56-0d7b0c0a4a1{number}" for number in range(4)]
URLS = [f"https://{name}.example.com/hook" for name in ("own", "a", "crm", "b")]
AT = "2026-01-02T03:04:06Z"


def resource(**metadata: Any) -> dict[str, Any]:
    """A completed track with two webhooks of keys and two of the deployment."""
    box: list[dict[str, Any]] = [{"id": one, "url": url} for one, url in zip(IDS, URLS, strict=True)]
    box[0] |= {"attempts": 1, "lastStatus": 200, "deliveredAt": AT, "lastAttemptAt": AT}
    box[1] |= {"attempts": 1, "lastStatus": 500, "nextAttemptAt": AT, "key": "team-a"}
    box[2] |= {"attempts": 10, "lastStatus": 0, "lastError": "Timeout", "endpoint": "crm", "key": "team-a"}
    box[3] |= {"attempts": 0, "nextAttemptAt": AT, "key": "team-b"}
    claims = [{"key": "team-a", "webhook": URLS[1]}, {"key": "team-b", "webhook": URLS[3]}]
    manifest: dict[str, Any] = {
        "metadata": {"name": "song", "namespace": "stemyard"},
        "spec": {"source": {"url": "https://e.com/a"}},
    }
    manifest["spec"] |= {"claims": claims}
    return tracks.resource(manifest, {**tracks.status_completed(), "webhooks": box}, **metadata)


@pytest.mark.parametrize(("who", "seen"), [(BOSS, IDS), (A, IDS[1:3]), (B, IDS[3:])])
def test_a_key_sees_its_own_deliveries_and_an_admin_all(who: Principal, seen: list[str]) -> None:
    found = resource()
    record = record_of(found)
    assert [one.id for one in visible_deliveries(found, record, who)] == seen
    log = [
        AttemptRecord(id=one, url=url, event="separation.completed", at=1.0, seconds=0.1, key=key)
        for one, url, key in zip(IDS, URLS, (None, "team-a", "team-a", "team-b"), strict=True)
    ]
    assert [one["id"] for one in visible_attempts(log, record, who)] == seen


def test_delivery_states_and_pending_counts() -> None:
    found = resource()
    states = [delivery_body(one, found)["state"] for one in visible_deliveries(found, record_of(found), BOSS)]
    assert states == ["delivered", "pending", "given_up", "pending"]
    assert count_pending(found) == 2


def test_a_redelivery_request_is_merged_with_a_pending_one() -> None:
    first = redelivery_patch(resource(), IDS[:1], 1.5)
    assert first[-1] == {"op": "add", "path": "/metadata/annotations", "value": {NOTE: f"{IDS[0]} 1500"}}
    pending = resource(annotations={NOTE: f"{IDS[2]} 1", "other": "x"})
    change = redelivery_patch(pending, IDS[:1], 2)[-1]
    assert change["path"] == "/metadata/annotations/stemyard.dev~1redeliver"
    assert change["value"] == f"{IDS[0]},{IDS[2]} 2000"
    pending["status"]["lastHandledRedelivery"] = f"{IDS[2]} 1"
    assert redelivery_patch(pending, IDS[:1], 2)[-1]["value"] == f"{IDS[0]} 2000"
    assert redelivery_patch(resource(annotations={NOTE: "all 1"}), IDS[:1], 2)[-1]["value"] == "all 2000"
    assert redelivery_patch(resource(annotations={"other": "x"}), IDS[:1], 2)[-1]["value"] == f"{IDS[0]} 2000"


@pytest.mark.parametrize("annotations", [None, {"other": "x"}, {NOTE: "all 1"}, {NOTE: "größer 1"}])
def test_a_redelivery_request_is_guarded_by_the_version_alone(annotations: dict[str, str] | None) -> None:
    """The API server compares strings by their JSON bytes: text beyond ASCII would never equal itself."""
    metadata = {} if annotations is None else {"annotations": annotations}
    tests = [one for one in redelivery_patch(resource(**metadata), IDS[:1], 2) if one["op"] == "test"]
    assert [one["path"] for one in tests] == ["/metadata/uid", "/metadata/resourceVersion"]
