"""Several keys with a real API server: what each may see, withdraw and erase, in shared and per-key mode."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.event_types import EventType
from stemyard_contract.identity import cache_key
from stemyard_contract.mirror import AttemptRecord
from stemyard_contract.separationjob import Output, Source, Stem
from tests.api import tracks
from tests.support.api_world import TENANT_NAMESPACE, World, eventually, published, services, world


@pytest.fixture(scope="module")
def shared(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("shared")) as found:
        yield found


@pytest.fixture(scope="module")
def apart(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("apart"), RESULT_SHARING="per-key") as found:
        yield found


@pytest.fixture
def song() -> dict[str, Any]:
    return {"search_query": f"Song {uuid.uuid4()}"}


def ask(client: httpx.Client, song: dict[str, Any], status: int = 202) -> str:
    response = client.post("/separate-audio", json=song)
    assert response.status_code == status, response.text
    return str(response.json()["track_id"])


def called(client: httpx.Client, method: str, path: str, status: int = 200) -> dict[str, Any]:
    response = client.request(method, path)
    assert response.status_code == status, response.text
    return dict(response.json())


def claims(running: World, track: str) -> list[str]:
    return [claim["key"] for claim in running.resource(track)["spec"].get("claims", [])]


def there(running: World, track: str) -> bool:
    return any(item["metadata"]["name"] == f"sep-{track}" for item in running.plane.api.get(running.path())["items"])


def listed(client: httpx.Client, query: str = "") -> list[str]:
    return [job["track_id"] for job in called(client, "GET", f"/jobs{query}")["jobs"]]


def test_two_keys_share_one_separation_until_both_withdraw(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as first, shared.client("team-b", 1) as second:
        track = ask(first, {**song, "metadata": {"mine": 1}})
        assert ask(second, song) == track
        assert claims(shared, track) == ["team-a", "team-b"]
        shared.mirror(shared.resource(track))
        assert "metadata" not in called(second, "GET", f"/job/{track}")
        assert track in listed(first)
        assert track in listed(second)
        left = called(first, "POST", f"/job/{track}/cancel")
        assert left == {"track_id": track, "status": "processing", "cancelled": False, "claim_removed": True}
        assert track not in listed(first)
        assert not shared.resource(track)["spec"]["cancel"]
        assert called(first, "POST", f"/job/{track}/cancel", 403)["code"] == "FORBIDDEN"
        ended = called(second, "POST", f"/job/{track}/cancel", 202)
        assert (ended["cancelled"], ended["claim_removed"]) == (True, True)
        assert shared.resource(track)["spec"]["cancel"] is True
        assert called(second, "POST", f"/job/{track}/cancel", 202)["cancelled"] is True


def test_the_highest_priority_of_all_requests_applies(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as client, shared.client("boss", 1) as boss:
        track = ask(client, song)
        shared.mirror(shared.resource(track))
        assert ask(boss, {**song, "priority": 10}) == track
        for priority in (-5, 0):
            ask(client, {**song, "priority": priority})
        assert shared.resource(track)["spec"]["priority"] == 10
        assert client.post("/separate-audio", json={**song, "priority": 1}).json()["code"] == "FORBIDDEN"


def test_a_request_right_after_a_cancel_runs_again(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as client:
        track = ask(client, song)
        shared.mirror(shared.resource(track))
        called(client, "POST", f"/job/{track}/cancel", 202)
        # the mirror still holds the claim and knows no cancel
        ask(client, song)
        spec = shared.resource(track)["spec"]
        assert (spec["run"], spec["cancel"], spec["claims"]) == (2, False, [{"key": "team-a"}])


@pytest.mark.parametrize("text", ["é", "<&>", "\u2028", "\u0011", "日本"])
def test_a_track_whose_metadata_is_not_plain_ascii_can_be_cancelled(
    shared: World, song: dict[str, Any], text: str
) -> None:
    with shared.client("team-a") as client:
        track = ask(client, {**song, "metadata": {text: text}})
        assert called(client, "POST", f"/job/{track}/cancel", 202)["cancelled"] is True
        assert shared.resource(track)["spec"]["cancel"] is True


def test_a_finished_track_is_not_cancelled(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as client:
        track = ask(client, song)
        shared.report(track, published(track))
        answer = called(client, "POST", f"/job/{track}/cancel")
        assert answer == {"track_id": track, "status": "completed", "cancelled": False, "claim_removed": False}
        assert claims(shared, track) == ["team-a"]


def test_delete_gives_up_a_claim_and_the_last_deletes(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as first, shared.client("team-b", 1) as second:
        track = ask(first, song)
        shared.report(track, published(track))
        ask(second, song, 200)
        assert called(first, "DELETE", f"/job/{track}") == {
            "track_id": track,
            "deleted": False,
            "claim_removed": True,
            "webhooks_abandoned": 0,
        }
        assert there(shared, track)
        assert called(second, "DELETE", f"/job/{track}")["deleted"] is True
        assert not there(shared, track)
        # the mirror has not heard of it, and still nobody is told of it
        called(first, "GET", f"/job/{track}", 404)
        assert track not in listed(second)
        called(second, "DELETE", f"/job/{track}", 404)
        ask(first, song)
        assert called(first, "GET", f"/job/{track}")["status"] == "processing"


def test_an_admin_can_end_tracks_of_other_keys(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as client, shared.client("boss") as boss:
        track = ask(client, song)
        assert called(boss, "POST", f"/job/{track}/cancel", 202)["claim_removed"] is False
        assert shared.resource(track)["spec"]["cancel"] is True
        assert claims(shared, track) == ["team-a"]
        assert called(boss, "DELETE", f"/job/{track}")["deleted"] is True
        assert not there(shared, track)


def test_retry_starts_one_run_of_a_failed_track(shared: World, song: dict[str, Any]) -> None:
    with shared.client("team-a") as client, shared.client("team-b", 1) as other:
        track = ask(client, song)
        assert called(client, "POST", f"/job/{track}/retry", 202)["run"] == 1
        shared.report(track, tracks.status_failed())
        assert called(client, "POST", f"/job/{track}/retry", 202)["run"] == 2
        assert called(other, "POST", f"/job/{track}/retry", 202)["run"] == 2
        assert claims(shared, track) == ["team-a", "team-b"]
        assert called(client, "GET", f"/job/{track}")["status"] == "processing"
        shared.report(track, published(track, run=2))
        assert called(client, "POST", f"/job/{track}/retry", 409)["code"] == "TRACK_COMPLETED"
        called(client, "POST", f"/job/{uuid.uuid4()}/retry", 404)


def write_by_hand(running: World) -> dict[str, Any]:
    """Create a SeparationJob as a kubectl user does, in the API's namespace."""
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    made = {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", "metadata": {"name": name}}
    return running.plane.api.post(running.path(), {**made, "spec": {"source": {"searchQuery": "By hand"}}})


READS = (
    ("GET", ""),
    ("GET", "/wait?timeout=0"),
    ("GET", "/events"),
    ("GET", "/candidates"),
    ("GET", "/webhooks"),
)
WRITES = (("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""))


def test_what_was_written_by_hand_is_the_admins_to_end(shared: World) -> None:
    track = f"{shared.namespace}.{write_by_hand(shared)['metadata']['name']}"
    with shared.client("tenant") as tenant, shared.client("boss") as boss:
        assert called(tenant, "GET", f"/job/{track}")["status"] == "processing"
        for method, path in WRITES:
            called(tenant, method, f"/job/{track}{path}", 403)
        assert called(boss, "DELETE", f"/job/{track}")["deleted"] is True


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_tracks_of_kubectl_users_are_hidden_from_other_keys(shared: World, mirrored: bool, elsewhere: bool) -> None:
    resource = write_by_hand(shared)
    namespace = TENANT_NAMESPACE if elsewhere else shared.namespace
    status = published(f"{namespace}.{resource['metadata']['name']}")
    resource = shared.plane.api.merge(f"{shared.path(resource['metadata']['name'])}/status", {"status": status})
    if elsewhere:
        # a tenant who claims the track for somebody's key
        claims = {"claims": [{"key": "team-a", "metadata": '{"forged":1}'}]}
        metadata = {**resource["metadata"], "namespace": TENANT_NAMESPACE}
        resource = {**resource, "metadata": metadata, "spec": {**resource["spec"], **claims}}
    if mirrored:
        shared.mirror(resource)
    track = f"{resource['metadata']['namespace']}.{resource['metadata']['name']}"
    with shared.client("team-a") as client, shared.client("tenant") as tenant, shared.client("boss") as boss:
        known = mirrored or not elsewhere
        for reader in (tenant, boss, tenant):
            found = called(reader, "GET", f"/job/{track}", 200 if known else 404)
            assert ("vocals_url" in found.get("result", {})) is known
        for method, path in (*READS, *WRITES, ("POST", "/webhooks/redeliver")):
            for _ in range(2):  # the second from the cache, if there were one
                called(client, method, f"/job/{track}{path}", 404)
        answer = client.post("/webhooks/test", json={"track_id": track})
        assert answer.status_code == 404, answer.text
        if mirrored:
            assert (track in listed(tenant), track in listed(client)) == (True, False)
            assert track in listed(boss, "?all=true")
        if elsewhere:
            called(tenant, "GET", f"/job/{track}/candidates", 403)
        else:
            called(tenant, "GET", f"/job/{track}/candidates")


def test_without_redis_the_list_hides_them_too(shared: World) -> None:
    track = f"{shared.namespace}.{write_by_hand(shared)['metadata']['name']}"
    shared.valkey.stop()
    try:
        with shared.client("team-a") as client, shared.client("tenant") as tenant:
            assert (track in listed(tenant), track in listed(client)) == (True, False)
            called(client, "GET", f"/job/{track}", 404)
            assert called(tenant, "GET", f"/job/{track}")["status"] == "processing"
    finally:
        shared.valkey.start()
        eventually(lambda: bool(services(shared.apis[0])["redis_operational"]))


def test_per_key_mode_gives_each_key_its_own_separation(apart: World, song: dict[str, Any]) -> None:
    with apart.client("team-a") as first, apart.client("team-b", 1) as second, apart.client("boss") as boss:
        mine, theirs = ask(first, song), ask(second, song)
        assert mine != theirs
        assert ask(first, song) == mine
        for known in (False, True):
            if known:
                apart.report(mine, {**published(mine), "cacheKey": "0" * 64})
            for method, path in (
                ("GET", f"/job/{mine}"),
                ("GET", f"/job/{mine}/wait?timeout=0"),
                ("GET", f"/job/{mine}/candidates"),
                ("GET", f"/job/{mine}/events"),
                ("POST", f"/job/{mine}/cancel"),
                ("POST", f"/job/{mine}/retry"),
                ("DELETE", f"/job/{mine}"),
            ):
                called(second, method, path, 404)
        apart.mirror(apart.resource(theirs))
        assert (mine in listed(first), theirs in listed(first)) == (True, False)
        assert {mine, theirs} <= set(listed(boss, "?all=true"))
        assert called(boss, "GET", f"/job/{mine}")["status"] == "completed"
        assert called(first, "DELETE", f"/job/{mine}")["deleted"] is True
        assert there(apart, theirs)


def test_per_key_mode_serves_hits_from_the_mirror_alone(apart: World, song: dict[str, Any]) -> None:
    with apart.client("team-a") as client:
        track = ask(client, song)
        content = cache_key(Source(**song), "spleeter-2stems", [Stem.VOCALS, Stem.INSTRUMENTAL], Output())
        apart.report(track, {**published(track), "cacheKey": content})
        apart.plane.api.delete(apart.path(f"sep-{track}"))
        assert ask(client, song, 200) == track


def test_per_key_mode_shows_a_cancelled_track_to_its_key(apart: World, song: dict[str, Any]) -> None:
    with apart.client("team-a") as client:
        track = ask(client, song)
        called(client, "POST", f"/job/{track}/cancel", 202)
        apart.report(track, tracks.status_failed(cancelled=True))
        assert called(client, "GET", f"/job/{track}")["code"] == "CANCELLED"
        assert called(client, "POST", f"/job/{track}/retry", 202)["run"] == 2


def test_scopes_are_enforced(shared: World) -> None:
    with shared.client("reader") as reader, shared.client("team-a") as team, shared.client("boss") as boss:
        for method, path in (
            ("POST", "/separate-audio"),
            ("POST", "/uploads"),
            ("POST", "/batch"),
            ("DELETE", "/keys/reader/data"),
            ("POST", f"/job/{uuid.uuid4()}/cancel"),
        ):
            answer = reader.request(
                method, path, json={"search_query": "a", "requests": [{}], "filename": "a", "size": 1}
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), path
        for path in ("/queue/info", "/usage", "/jobs?all=true", "/admin/overview"):
            called(team, "GET", path, 403)
            called(boss, "GET", path)
        called(team, "DELETE", "/keys/team-b/data", 403)
        called(reader, "GET", f"/job/{uuid.uuid4()}", 404)


def attempt(key: str | None) -> AttemptRecord:
    url = f"https://{key}.example.com/hook"
    return AttemptRecord(id=str(uuid.uuid4()), url=url, event=EventType.COMPLETED, at=1.0, seconds=0.1, key=key)


def test_erasing_a_key_takes_its_claims_tracks_and_uploads(shared: World) -> None:
    with shared.client("team-a") as first, shared.client("team-b", 1) as second:
        called(first, "DELETE", "/keys/team-a/data")
        alone = ask(first, {"search_query": f"Alone {uuid.uuid4()}"})
        both = ask(first, song := {"search_query": f"Both {uuid.uuid4()}"})
        ask(second, song)
        slot = first.post("/uploads", json={"filename": "a.mp3", "size": 3}).json()
        assert httpx.put(slot["url"], content=b"abc", headers=slot["headers"]).status_code == 200
        kept = second.post("/uploads", json={"filename": "a.mp3", "size": 3}).json()
        assert httpx.put(kept["url"], content=b"abc", headers=kept["headers"]).status_code == 200
        with shared.redis() as cache:
            for key in ("team-a", "team-b", None, "team-a"):
                cache.xadd(shared.keys.attempts(both), {"attempt": attempt(key).dump()})
        erased = called(first, "DELETE", "/keys/team-a/data")
        assert erased == {
            "key_id": "team-a",
            "claims_removed": 2,
            "tracks_deleted": 1,
            "uploads_deleted": 1,
            "webhooks_deleted": 0,
        }
        assert not there(shared, alone)
        assert claims(shared, both) == ["team-b"]
        with shared.redis() as cache:
            left = cache.xrange(shared.keys.attempts(both))
        assert [AttemptRecord.model_validate_json(one[b"attempt"]).key for _, one in left] == ["team-b", None]
        assert first.post("/separate-audio", json={"upload_id": slot["upload_id"]}).status_code == 409
        assert second.post("/separate-audio", json={"upload_id": kept["upload_id"]}).status_code == 202
        assert called(first, "DELETE", "/keys/team-a/data")["tracks_deleted"] == 0
