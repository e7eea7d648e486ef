"""From the request to the consumer: an API process, an operator process, and the consumers in `examples/`."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane, free_port
from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import resource_name
from tests.support import api_world, operator_world
from tests.support.operator_world import World, eventually
from tests.support.servers import Server, api_process
from tests.support.webhook_receiver import Receiver

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
    """An API process in the operator's world."""
    api_world.grant(world.plane, world.namespace)
    environment = {**world.environment, "STEMYARD_NAMESPACE": world.namespace}
    environment["KUBECONFIG"] = str(world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT))
    with api_process(world.folder, environment) as api, api.client() as client:
        yield client


def test_a_request_names_who_is_told(world: World, receiver: Receiver) -> None:
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


@contextlib.contextmanager
def consumer(example: str, folder: Path, secret: str) -> Iterator[str]:
    """Run an example until the block ends; yields the address of its hook."""
    port = free_port()
    environment = {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    with Server(example, [sys.executable, str(EXAMPLES / example)], port, folder, environment).running():
        yield f"http://127.0.0.1:{port}/hook"


def test_the_examples_believe_us_and_nobody_else(world: World, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        examples = ("fastapi_consumer.py", "flask_consumer.py")
        friends = [stack.enter_context(consumer(one, tmp_path, SECRET)) for one in examples]
        strangers = [stack.enter_context(consumer(one, tmp_path, "whsec_" + "A" * 32)) for one in examples]
        world.create(model="nope", webhooks=[{"url": url} for url in (*friends, *strangers)])
        origins = ",".join(url.removesuffix("/hook") for url in (*friends, *strangers))
        with world.operating(WEBHOOK_ALLOWED_ORIGINS=origins):
            eventually(lambda: (found := world.separation().status.webhooks) and not any(one.pending for one in found))
    answered = {one.url: (one.last_status, one.attempts) for one in world.separation().status.webhooks}
    assert [answered[url] for url in friends] == [(204, 1)] * 2
    assert [answered[url] for url in strangers] == [(401, 3)] * 2


def test_the_shell_example(world: World, receiver: Receiver) -> None:
    world.create(model="nope")
    with world.operating():
        eventually(lambda: receiver.received)
    [got] = receiver.received
    for body, secret, expected in ((got.body, SECRET, 0), (got.body + b" ", SECRET, 1), (got.body, "other", 1)):
        command = ["sh", str(EXAMPLES / "verify.sh"), got.headers["X-Webhook-Signature"]]
        done = subprocess.run(command, input=body, env={**os.environ, "WEBHOOK_SECRET": secret}, timeout=30)
        assert done.returncode == expected
