"""From the request to the consumer: an API process, an operator process, and the consumers in `examples/`."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane, free_port
from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import resource_name
from stemyard_contract.separationjob import Phase, Stem
from stemyard_contract.webhook import EventType, completed_body, failed_body, processing_body
from stemyard_contract.webhook import test_body as body_of_test
from stemyard_contract.webhook_signature import signed_headers, verify
from tests.support import api_world, operator_world
from tests.support.operator_world import World, eventually
from tests.support.servers import Server, api_process
from tests.support.webhook_receiver import Receiver, status

EXAMPLES = Path(__file__).parents[2] / "examples/webhooks"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def world(control_plane: ControlPlane, tmp_path: Path, receiver: Receiver) -> Iterator[World]:
    with operator_world.world(control_plane, tmp_path) as found:
        found.environment |= {"WEBHOOK_URL": receiver.url("/own"), "WEBHOOK_SECRET": SECRET}
        found.environment |= {"WEBHOOK_SCHEDULE": "0,1,1", "WEBHOOK_ALLOWED_ORIGINS": receiver.url("")}
        yield found


@contextlib.contextmanager
def asking(world: World) -> Iterator[httpx.Client]:
    """An API process that shares the operator's world."""
    api_world.grant(world.plane, world.namespace)
    environment = {**world.environment, "STEMYARD_NAMESPACE": world.namespace}
    environment["KUBECONFIG"] = str(world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT))
    with api_process(world.folder, environment) as api, api.client() as client:
        yield client


def test_a_request_sets_its_webhook(world: World, receiver: Receiver) -> None:
    song = {"search_query": f"Song {uuid.uuid4()}"}
    with world.operating(), asking(world) as client:
        first = client.post("/separate-audio", json={**song, "webhook_url": receiver.url("/first")})
        assert first.status_code == 202
        name = resource_name(first.json()["track_id"])
        for stage in WorkStage:
            job = world.wait_job(stage, name=name)
            world.succeed(job, world.run(job))
        eventually(lambda: len(receiver.received) == 2)
        eventually(lambda: client.get(f"/job/{first.json()['track_id']}").json()["status"] == "completed")
        for path in ("/first", "/second", "/second"):
            again = client.post("/separate-audio", json={**song, "webhook_url": receiver.url(path)})
            assert again.json()["cached"] is True
        eventually(lambda: len(receiver.received) == 3)
        eventually(lambda: not any(one.pending for one in world.separation(name).status.webhooks))
    assert Counter(one.path for one in receiver.received) == {"/own": 1, "/first": 1, "/second": 1}
    assert all(one.payload["track_id"] == first.json()["track_id"] for one in receiver.received)


def test_deliveries_are_listed_and_redelivered(world: World, receiver: Receiver) -> None:
    receiver.behaviours["/gone"] = status(410)
    song = {"search_query": f"Song {uuid.uuid4()}", "webhook_url": receiver.url("/gone")}
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(asking(world))
        track = client.post("/separate-audio", json=song).json()["track_id"]
        name = resource_name(track)
        assert client.get(f"/job/{track}/webhooks").json() == {"track_id": track, "deliveries": [], "attempts": []}
        assert client.post(f"/job/{track}/webhooks/redeliver").status_code == 404
        # before there is a Job, which nobody here would clear away
        world.plane.api.merge(world.path("separationjobs", name), {"spec": {"cancel": True}})
        operator = stack.enter_context(world.operating())
        eventually(lambda: len(receiver.received) == 2)

        def states() -> dict[str, str]:
            listed = client.get(f"/job/{track}/webhooks").json()["deliveries"]
            return {one["url"]: one["state"] for one in listed}

        eventually(lambda: states() == {receiver.url("/own"): "delivered", receiver.url("/gone"): "given_up"})
        [letter] = client.get("/webhooks/dead-letters").json()["dead_letters"]
        assert (letter["track_id"], letter["url"], letter["last_status"]) == (track, receiver.url("/gone"), 410)
        for cursor in ("x", ""):
            refused = client.get("/webhooks/dead-letters", params={"cursor": cursor}).json()
            assert refused["code"] == "INVALID_REQUEST"
        events = {one["reason"]: one for one in world.plane.api.get(world.path("events"))["items"]}
        assert events["WebhookUndelivered"]["involvedObject"]["name"] == name

        receiver.behaviours.clear()
        again = client.post(f"/job/{track}/webhooks/redeliver", json={"id": letter["id"]})
        assert (again.status_code, again.json()["ids"]) == (202, [letter["id"]])
        eventually(lambda: set(states().values()) == {"delivered"})
        eventually(lambda: len(client.get(f"/job/{track}/webhooks").json()["attempts"]) == 3)
        log = client.get(f"/job/{track}/webhooks").json()["attempts"]
        assert [one["status"] for one in log if one["id"] == letter["id"]] == [200, 410]
        assert client.get("/webhooks/dead-letters").json() == {"dead_letters": [], "next_cursor": None}
        metrics = httpx.get(f"http://127.0.0.1:{operator.health_port}/metrics").text
        assert 'stemyard_webhook_attempts_total{event="separation.cancelled",result="4xx"} 1.0' in metrics
        assert 'stemyard_webhook_deliveries_total{outcome="given_up"} 1.0' in metrics

        receiver.behaviours["/gone"] = status(500)
        assert len(client.post(f"/job/{track}/webhooks/redeliver", json={"id": "all"}).json()["ids"]) == 2
        eventually(lambda: states() == {receiver.url("/own"): "delivered", receiver.url("/gone"): "pending"})
        assert client.delete(f"/job/{track}").json()["webhooks_abandoned"] == 1


def test_the_operator_sends_a_test_webhook_and_the_api_returns_its_result(world: World, receiver: Receiver) -> None:
    receiver.behaviours["/bad"] = status(500)
    track = {"search_query": f"Song {uuid.uuid4()}", "webhook_url": receiver.url("/mine")}
    with world.operating(), asking(world) as client:
        good = client.post("/webhooks/test", json={"url": receiver.url("/good"), "key": "team-a"})
        assert good.status_code == 200, good.text
        assert {**good.json(), "id": "", "last_attempt_at": 0, "delivered_at": 0} == {
            "id": "",
            "url": receiver.url("/good"),
            "event": "webhook.test",
            "endpoint": None,
            "registration": None,
            "state": "delivered",
            "attempts": 1,
            "last_status": 200,
            "last_error": None,
            "last_attempt_at": 0,
            "next_attempt_at": None,
            "delivered_at": 0,
        }
        assert client.post("/webhooks/test", json={"url": receiver.url("/bad")}).json()["last_status"] == 500
        private = client.post("/webhooks/test", json={"url": "https://127.0.0.1/hook"})
        assert (private.status_code, private.json()["errors"][0]["field"]) == (422, "url")
        asked = client.post("/separate-audio", json=track).json()["track_id"]
        assert client.post("/webhooks/test", json={"track_id": asked}).json()["url"] == receiver.url("/mine")
        assert client.post("/webhooks/test", json={}).status_code == 422
        assert client.post("/webhooks/test", json={"track_id": "nobodys"}).status_code == 404
        listed = client.get("/jobs").json()["jobs"]
        assert [one["track_id"] for one in listed] in ([], [asked])
        assert world.jobs().keys() <= {name for name in world.jobs() if "webhook-test" not in name}
    [got] = receiver.at("/good")
    webhook = verify(got.body, got.headers, SECRET)
    assert (webhook.event, webhook.payload["status"]) == ("webhook.test", "test")
    assert receiver.at("/own") == []
    assert len(receiver.at("/bad")) == 1


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples for Node and their locked dependencies."""
    if shutil.which("npm") is None:
        pytest.skip("needs node and npm, which this machine lacks; .ci/run installs them")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "express_consumer.mjs"):
        shutil.copy(EXAMPLES / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=180)
    return folder


@contextlib.contextmanager
def consumer(example: str, folder: Path, secret: str, files: Path = EXAMPLES) -> Iterator[str]:
    """Run an example until the block ends; yields the URL of its hook."""
    port = free_port()
    environment = {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    program = "node" if example.endswith(".mjs") else sys.executable
    with Server(example, [program, str(files / example)], port, folder, environment).running():
        yield f"http://127.0.0.1:{port}/hook"


@pytest.mark.parametrize("secret", [SECRET, "a s\u00e9cret without a prefix"])
def test_the_express_example(world: World, tmp_path: Path, node_modules: Path, secret: str) -> None:
    world.environment |= {"WEBHOOK_SECRET": secret}
    check_examples(world, tmp_path, {"express_consumer.mjs": node_modules}, secret)


def test_the_examples_accept_only_valid_signatures(world: World, tmp_path: Path) -> None:
    check_examples(world, tmp_path, dict.fromkeys(("fastapi_consumer.py", "flask_consumer.py"), EXAMPLES), SECRET)


TRACK = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
BODIES = {
    EventType.STARTED: processing_body(TRACK, 0, 1.0, Phase.FETCHING),
    EventType.PROGRESS: processing_body(TRACK, 40, 1.0, Phase.SEPARATING),
    EventType.COMPLETED: completed_body(TRACK, {Stem.INSTRUMENTAL: "https://media.example.com/a.mp3?signed"}, 1.0),
    EventType.FAILED: failed_body(TRACK, "No recording matches this query.", 1.0),
    EventType.CANCELLED: failed_body(TRACK, "The separation was cancelled.", 1.0),
    EventType.TEST: body_of_test(TRACK, 1.0),
}


@pytest.mark.parametrize("example", ["fastapi_consumer.py", "flask_consumer.py", "express_consumer.mjs"])
def test_the_examples_take_every_event(request: pytest.FixtureRequest, tmp_path: Path, example: str) -> None:
    files = request.getfixturevalue("node_modules") if example.endswith(".mjs") else EXAMPLES
    assert BODIES.keys() == set(EventType)
    with consumer(example, tmp_path, SECRET, files) as url:
        for event, body in BODIES.items():
            for _ in range(2):  # the second is a repetition
                headers = signed_headers(f"msg-{event}", event, body, int(time.time()), [SECRET])
                assert httpx.post(url, content=body, headers=headers).status_code in {200, 204}, event
    [log] = tmp_path.glob(f"{example}-*.log")
    lines = log.read_text().splitlines()
    assert sum(TRACK in line for line in lines) == len(BODIES)
    assert "Traceback" not in log.read_text()


def check_examples(world: World, folder: Path, examples: dict[str, Path], secret: str) -> None:
    """Deliver to each example with the shared secret and with another one."""
    with contextlib.ExitStack() as stack:
        friends = [stack.enter_context(consumer(one, folder, secret, at)) for one, at in examples.items()]
        other = "whsec_" + "A" * 32
        strangers = [stack.enter_context(consumer(one, folder, other, at)) for one, at in examples.items()]
        world.create(model="nope", webhooks=[{"url": url} for url in (*friends, *strangers)])
        origins = ",".join(url.removesuffix("/hook") for url in (*friends, *strangers))
        with world.operating(WEBHOOK_ALLOWED_ORIGINS=origins):
            eventually(lambda: (found := world.separation().status.webhooks) and not any(one.pending for one in found))
    answered = {one.url: (one.last_status, one.attempts) for one in world.separation().status.webhooks}
    assert [answered[url] for url in friends] == [(204, 1)] * len(examples)
    assert [answered[url] for url in strangers] == [(401, 3)] * len(examples)


def test_the_shell_example(world: World, receiver: Receiver) -> None:
    world.create(model="nope")
    with world.operating():
        eventually(lambda: receiver.received)
    [got] = receiver.received
    for body, secret, expected in ((got.body, SECRET, 0), (got.body + b" ", SECRET, 1), (got.body, "other", 1)):
        command = ["sh", str(EXAMPLES / "verify.sh"), got.headers["X-Webhook-Signature"]]
        done = subprocess.run(command, input=body, env={**os.environ, "WEBHOOK_SECRET": secret}, timeout=30)
        assert done.returncode == expected
