"""Webhooks of a real operator process, with misbehaving consumers and a killed operator."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from localcluster.control_plane import ControlPlane, free_port
from stemyard_contract.handover import WorkStage
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.webhook_signature import verify
from stemyard_operator.model.separation import separation_of
from tests.contract.test_webhook_signature import verify_webhook
from tests.support import operator_world
from tests.support.operator_world import World, eventually
from tests.support.webhook_receiver import Receiver, break_off, endless, first, hang, slow, status

SECRET = "a webhook secret"
SCHEDULE = (0.0, 1.0, 2.0, 3.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def world(control_plane: ControlPlane, tmp_path: Path, receiver: Receiver) -> Iterator[World]:
    with operator_world.world(control_plane, tmp_path) as found:
        found.environment |= {
            "WEBHOOK_URL": receiver.url("/own"),
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_SCHEDULE": ",".join(map(str, SCHEDULE)),
            "WEBHOOK_TIMEOUT_SECONDS": "2",
            "WEBHOOK_BREAKER_SECONDS": "1",
            "WEBHOOK_ALLOWED_ORIGINS": receiver.url(""),
            "MAX_ACTIVE": "50",
            "MAX_ACTIVE_FETCH": "50",
        }
        yield found


def deliveries(world: World, name: str = "song") -> dict[str, WebhookStatus]:
    return {one.url: one for one in world.separation(name).status.webhooks}


def settled(world: World, *names: str) -> bool:
    found = [one for name in names or ("song",) for one in deliveries(world, name).values()]
    return bool(found) and not any(one.pending for one in found)


def condition(world: World, name: str = "song") -> tuple[str, str]:
    found = {one.type: one for one in world.separation(name).status.conditions}["WebhooksDelivered"]
    return found.status, found.reason


def test_the_end_is_delivered_once_and_every_consumer_verifies_it(world: World, receiver: Receiver) -> None:
    world.create(webhooks=[{"url": receiver.url("/one")}], claims=[{"key": "a", "webhook": receiver.url("/two")}])
    with world.operating():
        world.separate()
        eventually(lambda: settled(world))
        time.sleep(1)
    assert condition(world) == ("True", "Delivered")
    assert sorted(one.path for one in receiver.received) == ["/one", "/own", "/two"]
    for got in receiver.received:
        assert verify(got.body, got.headers, SECRET).payload == got.payload
        assert Webhook(SECRET.encode()).verify(got.body, dict(got.headers)) == got.payload
        assert verify_webhook(got.body.decode(), got.headers["X-Webhook-Signature"], SECRET)
        assert got.payload["status"] == "completed"
        assert got.payload["track_id"] == f"{world.namespace}.song"
    assert {one.id for one in deliveries(world).values()} == {got.id for got in receiver.received}
    assert all(one.attempts == 1 and one.last_status == 200 for one in deliveries(world).values())
    stored = str(world.plane.api.get(world.path("separationjobs", "song")))
    assert "X-Amz-Signature" not in stored
    assert SECRET not in stored


def test_links_of_a_delivery_can_be_followed(world: World, receiver: Receiver) -> None:
    world.create()
    with world.operating():
        world.separate()
        eventually(lambda: settled(world))
    [got] = receiver.received
    assert httpx.get(got.payload["result"]["vocals_url"]).content == b"vocals" * 50


def test_deliveries_to_misbehaving_consumers_are_retried(world: World, receiver: Receiver) -> None:
    behaviours = {
        "/500-twice": (first(2, status(500)), 3, 200),
        "/hangs-once": (first(1, hang(3)), 2, 200),
        "/breaks-off-once": (first(1, break_off), 2, 200),
        "/redirects": (status(302, Location="/nowhere"), len(SCHEDULE), 302),
        "/410": (status(410), 1, 410),
        "/slow": (slow(1.0), 1, 200),
        "/endless": (endless, 1, 200),
        "/429-asks-for-4s": (first(1, status(429, Retry_After="4")), 2, 200),
    }
    receiver.behaviours = {path: behaviour for path, (behaviour, _, _) in behaviours.items()}
    down = f"http://127.0.0.1:{free_port()}/down"
    private = "https://127.0.0.1/hook"
    targets = [*(receiver.url(path) for path in behaviours), down, private]
    world.create(webhooks=[{"url": url} for url in targets])
    with world.operating(WEBHOOK_ALLOWED_ORIGINS=f"{receiver.url('')},{down}"):
        world.separate()
        eventually(lambda: settled(world), 60)
    found = deliveries(world)
    for path, (_, attempts, last) in behaviours.items():
        one, got = found[receiver.url(path)], receiver.at(path)
        assert (one.attempts, one.last_status, len(got)) == (attempts, last, attempts), path
        assert len({(each.id, each.payload["track_id"], each.payload["created_at"]) for each in got}) == 1
        assert (one.delivered_at is not None) is (last == 200)
    assert receiver.at("/nowhere") == []
    assert (found[down].attempts, found[down].last_status, found[down].last_error) == (4, 0, "ConnectFailed")
    assert (found[private].attempts, found[private].last_error) == (1, "AddressRefused")
    assert condition(world) == ("False", "Undelivered")
    twice = receiver.at("/500-twice")
    for before, after, planned in zip(twice, twice[1:], SCHEDULE[1:], strict=False):
        assert after.at - before.at >= planned
    limited = receiver.at("/429-asks-for-4s")
    assert limited[1].at - limited[0].at >= 4


def test_failures_and_cancellations_are_delivered(world: World, receiver: Receiver) -> None:
    world.create("bad", model="nope")
    world.create("song", cancel=True)
    with world.operating():
        eventually(lambda: settled(world, "bad", "song"))
    by_event = {got.headers["X-Webhook-Event"]: got.payload for got in receiver.received}
    assert by_event.keys() == {"separation.failed", "separation.cancelled"}
    assert all(payload["status"] == "failed" and payload["progress"] == 0 for payload in by_event.values())


def test_a_webhook_added_after_the_end_gets_one_delivery(world: World, receiver: Receiver) -> None:
    world.create()
    with world.operating():
        world.separate()
        eventually(lambda: settled(world))
        claims = [{"key": "a", "webhook": receiver.url("/late")}]
        world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"claims": claims}})
        eventually(lambda: len(receiver.at("/late")) == 1 and settled(world))
        time.sleep(1)
    assert Counter(got.path for got in receiver.received) == {"/own": 1, "/late": 1}


def test_endpoints_use_their_own_secrets_and_get_progress_events(
    world: World, receiver: Receiver, tmp_path: Path
) -> None:
    """Secrets are mounted and reloaded; progress events cause no write and are signed like others."""
    secrets = {"own": "secret-of-own", "crm": "secret-of-crm", "team-a": "secret-of-team-a"}
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "WEBHOOK_SECRET").write_text(secrets["own"])

    def mount(crm: str) -> None:
        everything = [f"separation.{what}" for what in ("started", "progress", "completed", "failed", "cancelled")]
        endpoint = {"name": "crm", "url": receiver.url("/crm"), "keys": ["team-a"], "events": everything, "secret": crm}
        (folder / "new").write_text(
            json.dumps({"endpoints": [endpoint], "keys": {"team-a": {"secret": secrets["team-a"]}}})
        )
        (folder / "new").rename(folder / "endpoints.yaml")

    mount(secrets["crm"])
    claims = [{"key": "team-a", "webhook": receiver.url("/team-a")}, {"key": "team-b", "webhook": receiver.url("/own")}]
    world.create(claims=claims)
    with world.operating(WEBHOOK_SECRETS_DIR=str(folder)):
        for stage, phase in zip(WorkStage, ("Fetching", "Separating"), strict=True):
            job = world.wait_job(stage)
            pod = world.run(job)
            eventually(lambda wanted=phase: world.phase() == wanted)  # type: ignore[misc]
            world.succeed(job, pod)
        eventually(lambda: settled(world))
        told = [(got.path, got.headers["X-Webhook-Event"]) for got in receiver.received]
        ends = [(path, "separation.completed") for path in ("/crm", "/own", "/team-a")]
        assert sorted(told) == sorted([("/crm", "separation.started"), ("/crm", "separation.progress"), *ends])
        for got in receiver.received:
            assert verify(got.body, got.headers, secrets[got.path[1:]]).payload == got.payload
        processing = [got.payload for got in receiver.received if got.payload["status"] == "processing"]
        assert [one["phase"] for one in processing] == ["Fetching", "Separating"]
        assert {one.endpoint for one in deliveries(world).values()} == {None, "crm"}
        first = deliveries(world)[receiver.url("/crm")].id
        mount("another secret for crm")
        redeliver(world, first)
        eventually(lambda: len(receiver.at("/crm")) == 4 and settled(world))
        redeliver(world, "all again")
        eventually(lambda: len(receiver.received) == 9 and settled(world))
    again = receiver.at("/crm")[-1]
    assert verify(again.body, again.headers, "another secret for crm").id == first
    stored = json.dumps(world.plane.api.get(world.path("separationjobs", "song")))
    events = json.dumps(world.plane.api.get(world.path("events")))
    logs = "".join(path.read_text() for path in tmp_path.glob("operator-*.log"))
    for secret in (*secrets.values(), "another secret for crm"):
        assert secret not in stored + events + logs


def redeliver(world: World, wish: str) -> None:
    annotations = {"metadata": {"annotations": {"stemyard.dev/redeliver": wish}}}
    world.plane.api.merge(world.path("separationjobs", "song"), annotations)


def test_deletion_waits_for_a_consumer_that_comes_back(world: World, receiver: Receiver) -> None:
    receiver.behaviours["/own"] = first(3, status(503))
    world.create(ttlSecondsAfterFinished=0)
    with world.operating():
        for stage in WorkStage:
            job = world.wait_job(stage)
            world.succeed(job, world.run(job))
        eventually(lambda: "song" not in {one["metadata"]["name"] for one in listed(world)}, 60)
    assert len(receiver.at("/own")) == 4


def listed(world: World) -> list[dict[str, Any]]:
    return list(world.plane.api.get(world.path("separationjobs"))["items"])


def outboxes(world: World) -> dict[str, list[WebhookStatus]]:
    """The outbox of every SeparationJob, by one list."""
    return {
        found.name: found.status.webhooks for found in (separation_of(one, world.namespace) for one in listed(world))
    }


def test_every_consumer_is_notified_although_the_operator_is_killed_repeatedly(
    world: World, receiver: Receiver
) -> None:
    """Delivery is at least once, and never repeated after a recorded 2xx."""
    names = [f"song-{number}" for number in range(100)]
    receiver.behaviours = {"/own": first(1, status(500)), "/slow": slow(0.1)}
    for name in names:
        world.create(name, model="nope", webhooks=[{"url": receiver.url("/slow")}])
    recorded: dict[str, float] = {}
    kills, left = 0, True
    while left or kills < 4:
        assert kills < 20
        operator = world.operator(POD_NAME="operator-0", WEBHOOK_CONCURRENCY_PER_TARGET="16")
        operator.start()
        time.sleep(1 + kills)
        operator.kill()
        kills, now, found = kills + 1, time.time(), outboxes(world)
        entries = [one for outbox in found.values() for one in outbox]
        recorded = {one.id: now for one in entries if one.delivered_at is not None} | recorded
        left = not all(found.values()) or any(one.pending for one in entries)
    with world.operating(POD_NAME="operator-0"):
        time.sleep(2)
    told = {(got.path, got.payload["track_id"]) for got in receiver.received}
    assert told == {(path, f"{world.namespace}.{name}") for path in ("/own", "/slow") for name in names}
    assert len(recorded) == len(told)
    assert [got for got in receiver.received if got.at > recorded.get(got.id, float("inf"))] == []
    assert all(condition(world, name) == ("True", "Delivered") for name in names)
