"""Webhooks that keys register: an API process, an operator process, and a consumer that verifies what it receives."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import resource_name
from stemyard_contract.key_webhooks import resource_name as registrations_name
from stemyard_contract.separationjob import Phase
from tests.support import api_world, operator_world
from tests.support.operator_world import World, eventually
from tests.support.servers import Api, api_process
from tests.support.webhook_receiver import Receiver, first, status

QUIET_SECONDS = 3.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def world(control_plane: ControlPlane, tmp_path: Path, receiver: Receiver) -> Iterator[World]:
    with operator_world.world(control_plane, tmp_path) as found:
        found.environment |= {"WEBHOOK_SCHEDULE": "0,1,60", "WEBHOOK_ALLOWED_ORIGINS": receiver.url("")}
        found.environment |= {"WEBHOOKS_PER_KEY": "3"}
        yield found


@pytest.fixture
def api(world: World) -> Iterator[Api]:
    """An API process in the operator's world, with exactly the rights that the chart grants it."""
    api_world.grant(world.plane, world.namespace)
    environment = {**world.environment, "STEMYARD_NAMESPACE": world.namespace}
    environment["KUBECONFIG"] = str(world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT))
    environment["API_KEYS_FILE"] = str(api_world.keys_file(world.folder))
    with api_process(world.folder, environment) as found:
        yield found


@contextlib.contextmanager
def client(api: Api, key_id: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, headers={"X-API-Key": f"{key_id}-key"}, timeout=40.0) as opened:
        yield opened


@pytest.fixture
def team_a(api: Api) -> Iterator[httpx.Client]:
    with client(api, "team-a") as opened:
        yield opened


@pytest.fixture
def team_b(api: Api) -> Iterator[httpx.Client]:
    with client(api, "team-b") as opened:
        yield opened


def request(key: httpx.Client, query: str = "", **more: Any) -> str:
    """Request a separation; return its track id."""
    response = key.post("/separate-audio", json={"search_query": query or f"Song {uuid.uuid4()}", **more})
    assert response.status_code == 202, response.text
    return str(response.json()["track_id"])


def separate(world: World, track: str) -> None:
    """Run a track to completion, as the kubelet does."""
    name = resource_name(track)
    for stage in WorkStage:
        job = world.wait_job(stage, name=name)
        world.succeed(job, world.run(job))
    eventually(lambda: world.phase(name) == Phase.COMPLETED)


def registered(key: httpx.Client, url: str, **fields: Any) -> dict[str, Any]:
    response = key.post("/webhooks", json={"url": url, **fields})
    assert response.status_code == 201, response.text
    return dict(response.json())


def resources(world: World) -> list[dict[str, Any]]:
    path = f"/apis/stemyard.dev/v1alpha1/namespaces/{world.namespace}/keywebhooks"
    return list(world.plane.api.get(path)["items"])


def test_a_registered_webhook_gets_signed_events_until_it_is_deleted(
    world: World, team_a: httpx.Client, receiver: Receiver
) -> None:
    hook = registered(team_a, receiver.url("/mine"), description="Playlists")
    one, secret = f"/webhooks/{hook['id']}", hook["secret"]
    with world.operating():
        track = request(team_a)
        separate(world, track)
        eventually(lambda: len(receiver.at("/mine")) == 1)
        [got] = receiver.at("/mine")
        payload = Webhook(secret).verify(got.body, dict(got.headers))
        assert (payload["status"], payload["track_id"]) == ("completed", track)
        [delivery] = team_a.get(f"/job/{track}/webhooks").json()["deliveries"]
        assert (delivery["registration"], delivery["url"]) == (hook["id"], receiver.url("/mine"))

        rotated = team_a.post(f"{one}/rotate-secret").json()
        assert rotated["secret"] != secret
        assert rotated["previous_secret_valid_until"] == pytest.approx(time.time() + 24 * 3600, abs=60)
        separate(world, request(team_a))
        eventually(lambda: len(receiver.at("/mine")) == 2)
        got = receiver.at("/mine")[1]
        for valid in (secret, rotated["secret"]):
            assert Webhook(valid).verify(got.body, dict(got.headers))["status"] == "completed"

        ended = team_a.post(f"{one}/rotate-secret", json={"previous_valid_seconds": 0}).json()
        assert ended["previous_secret_valid_until"] is None
        tested = team_a.post(f"{one}/test").json()
        assert (tested["state"], tested["event"], tested["registration"]) == ("delivered", "webhook.test", hook["id"])
        got = receiver.at("/mine")[2]
        assert Webhook(ended["secret"]).verify(got.body, dict(got.headers))["status"] == "test"
        for old in (secret, rotated["secret"]):
            with pytest.raises(WebhookVerificationError):
                Webhook(old).verify(got.body, dict(got.headers))

        assert team_a.delete(one).json() == {"id": hook["id"], "deleted": True}
        assert team_a.get(one).status_code == 404
        assert resources(world) == []
        track = request(team_a)
        separate(world, track)
        time.sleep(QUIET_SECONDS)
        assert team_a.get(f"/job/{track}/webhooks").json()["deliveries"] == []
    assert len(receiver.received) == 3
    logs = "".join(log.read_text(errors="replace") for log in world.folder.glob("*.log"))
    assert all(one not in logs for one in (secret, rotated["secret"], operator_world.MASTER_SECRET))


def test_one_key_neither_sees_nor_speaks_for_the_webhooks_of_another(
    world: World, team_a: httpx.Client, team_b: httpx.Client, receiver: Receiver
) -> None:
    query = f"Song {uuid.uuid4()}"
    url = receiver.url("/mine")
    hook = registered(team_a, url, events=["separation.completed"])
    other = registered(team_b, url)  # the same URL, as if it were theirs
    assert hook["id"] != other["id"]
    assert team_b.get(f"/webhooks/{hook['id']}").status_code == 404
    assert team_b.delete(f"/webhooks/{hook['id']}").status_code == 404
    assert team_b.patch(f"/webhooks/{hook['id']}", json={"enabled": False}).status_code == 404
    assert team_b.post(f"/webhooks/{hook['id']}/rotate-secret").status_code == 404
    assert team_b.post(f"/webhooks/{hook['id']}/test").status_code == 404
    assert [one["id"] for one in team_b.get("/webhooks").json()["webhooks"]] == [other["id"]]
    with world.operating():
        alone = request(team_a)
        separate(world, alone)
        eventually(lambda: len(receiver.of(alone)) == 1)
        track = request(team_a, query)
        # team-b requests the same track, and names the URL of team-a's webhook as well
        assert request(team_b, query, webhook_url=url) == track
        separate(world, track)
        eventually(lambda: len(receiver.of(track)) == 2)
        time.sleep(1)
        got = receiver.of(track)
        assert len({one.id for one in got}) == len(got) == 2
        for secret in (hook["secret"], other["secret"]):
            assert [_verified(secret, one.body, one.headers) for one in got].count(True) == 1
        for key, own in ((team_a, hook), (team_b, other)):
            listed = key.get(f"/job/{track}/webhooks").json()
            assert [one["registration"] for one in listed["deliveries"]] == [own["id"]]
            eventually(lambda: len(_attempts(key, track)) == 1)  # noqa: B023 - called in this pass of the loop


def _attempts(key: httpx.Client, track: str) -> list[Any]:
    return list(key.get(f"/job/{track}/webhooks").json()["attempts"])


def _verified(secret: str, body: bytes, headers: Any) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers))
    except WebhookVerificationError:
        return False
    return True


def test_events_are_filtered_and_a_disabled_webhook_is_silent_but_can_be_tested(
    world: World, team_a: httpx.Client, receiver: Receiver
) -> None:
    every = ["separation.started", "separation.progress", "separation.completed"]
    registered(team_a, receiver.url("/all"), events=every)
    failures = registered(team_a, receiver.url("/failures"), events=["separation.cancelled"])
    off = registered(team_a, receiver.url("/off"))
    assert team_a.patch(f"/webhooks/{off['id']}", json={"enabled": False}).json()["enabled"] is False
    with world.operating():
        separate(world, request(team_a))
        # progress is best effort, and may arrive or not
        eventually(lambda: {one.headers["X-Webhook-Event"] for one in receiver.at("/all")} >= {every[0], every[2]})
        assert receiver.at("/failures") == receiver.at("/off") == []
        assert team_a.post(f"/webhooks/{off['id']}/test").json()["state"] == "delivered"
        [got] = receiver.at("/off")
        assert Webhook(off["secret"]).verify(got.body, dict(got.headers))["status"] == "test"
        team_a.patch(f"/webhooks/{failures['id']}", json={"events": ["separation.failed"]})
        job = world.wait_job(WorkStage.FETCH, name=resource_name(request(team_a)))
        world.fail(job, world.run(job), "SOURCE_NOT_FOUND")
        eventually(lambda: len(receiver.at("/failures")) == 1)


def test_what_is_due_to_a_deleted_webhook_is_given_up(world: World, team_a: httpx.Client, receiver: Receiver) -> None:
    receiver.behaviours["/mine"] = first(9, status(500))
    hook = registered(team_a, receiver.url("/mine"))
    with world.operating():
        track = request(team_a)
        separate(world, track)
        eventually(lambda: len(receiver.at("/mine")) == 2)  # the third attempt is due a minute later
        team_a.delete(f"/webhooks/{hook['id']}")
        team_a.post(f"/job/{track}/webhooks/redeliver")

        def state() -> tuple[str, str | None]:
            [one] = team_a.get(f"/job/{track}/webhooks").json()["deliveries"]
            return one["state"], one["last_error"]

        eventually(lambda: state() == ("given_up", "EndpointRemoved"))
    assert len(receiver.at("/mine")) == 2


def test_webhooks_of_a_revoked_key_are_silent_until_it_is_valid_again(
    world: World, api: Api, team_a: httpx.Client, receiver: Receiver
) -> None:
    registered(team_a, receiver.url("/mine"))
    keys = Path(api.server.environment["API_KEYS_FILE"])
    text = keys.read_text()
    with world.operating():
        track = request(team_a)
        keys.write_text("\n".join(line for line in text.splitlines() if "id: team-a," not in line) + "\n")
        eventually(lambda: [one["spec"].get("revoked") for one in resources(world)] == [True], seconds=60)
        separate(world, track)
        time.sleep(QUIET_SECONDS)
        assert receiver.received == []
        keys.write_text(text)
        eventually(lambda: [one["spec"].get("revoked") for one in resources(world)] == [False], seconds=60)
        separate(world, request(team_a))
        eventually(lambda: len(receiver.at("/mine")) == 1)


def test_registering_is_checked_bounded_and_repeatable(
    world: World, api: Api, team_a: httpx.Client, receiver: Receiver
) -> None:
    url = receiver.url("/mine")
    for refused in ("http://10.0.0.7/", "https://hooks.svc/", "https://127.1/", "ftp://example.com/"):
        answer = team_a.post("/webhooks", json={"url": refused})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "url"), answer.text
    with client(api, "reader") as reader:
        assert reader.post("/webhooks", json={"url": url}).status_code == 403
        assert reader.get("/webhooks").json() == {"webhooks": []}
    repeatable = {"Idempotency-Key": "first"}
    made = team_a.post("/webhooks", json={"url": url}, headers=repeatable)
    again = team_a.post("/webhooks", json={"url": url}, headers=repeatable)
    assert (made.status_code, again.status_code) == (201, 201)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (made.json(), "true")
    assert made.headers["Location"] == f"/webhooks/{made.json()['id']}"
    mismatch = team_a.post("/webhooks", json={"url": receiver.url("/other")}, headers=repeatable)
    assert (mismatch.status_code, mismatch.json()["code"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert team_a.post("/webhooks", json={"url": url}, headers={"Idempotency-Key": ""}).status_code == 422
    twice = team_a.post("/webhooks", json={"url": url})
    assert (twice.status_code, twice.json()["code"]) == (409, "WEBHOOK_EXISTS")
    second = registered(team_a, receiver.url("/2"))
    assert team_a.patch(f"/webhooks/{second['id']}", json={"url": url}).json()["code"] == "WEBHOOK_EXISTS"
    assert team_a.patch(f"/webhooks/{second['id']}", json={"url": "https://10.0.0.7/"}).status_code == 422
    for text in ("a\x00b", "\u202e\ufeff \U0001f3b5", '{{ "op": 1 }}', "x" * 256):
        assert team_a.patch(f"/webhooks/{second['id']}", json={"description": text}).json()["description"] == text
    assert team_a.patch(f"/webhooks/{second['id']}", json={"description": "x" * 257}).status_code == 422
    assert team_a.patch(f"/webhooks/{second['id']}", json={"description": ""}).json()["description"] is None
    registered(team_a, receiver.url("/3"))
    full = team_a.post("/webhooks", json={"url": receiver.url("/4")})
    assert (full.status_code, full.json()["code"]) == (409, "WEBHOOK_LIMIT")
    [stored] = resources(world)
    assert stored["metadata"]["name"] == registrations_name("team-a")
    assert made.json()["secret"].removeprefix("whsec_") not in str(stored)
    erased = team_a.delete("/keys/team-a/data").json()
    assert erased["webhooks_deleted"] == 3
    assert resources(world) == []
    assert team_a.get("/webhooks").json() == {"webhooks": []}


def test_concurrent_registrations_never_exceed_the_limit(
    world: World, team_a: httpx.Client, receiver: Receiver
) -> None:
    urls = [receiver.url(f"/{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda url: team_a.post("/webhooks", json={"url": url}).status_code, urls))
    assert sorted(answers) == [201, 201, 201, 409, 409, 409]
    assert len(team_a.get("/webhooks").json()["webhooks"]) == 3


def test_without_a_master_secret_no_webhook_can_be_registered(world: World, receiver: Receiver) -> None:
    api_world.grant(world.plane, world.namespace)
    environment = {**world.environment, "STEMYARD_NAMESPACE": world.namespace, "WEBHOOK_MASTER_SECRET": ""}
    environment["KUBECONFIG"] = str(world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT))
    with api_process(world.folder, environment) as api, api.client() as default:
        answer = default.post("/webhooks", json={"url": receiver.url("/mine")})
        assert (answer.status_code, answer.json()["code"]) == (501, "NOT_CONFIGURED")
        assert default.get("/webhooks").json() == {"webhooks": []}
