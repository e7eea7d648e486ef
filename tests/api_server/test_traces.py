"""One trace from the caller's request through both processes to the consumer's webhook."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_contract.tracing import ANNOTATION_TRACEPARENT
from tests.support import api_world, operator_world
from tests.support.operator_world import World, eventually
from tests.support.servers import api_process
from tests.support.trace_collector import Collector
from tests.support.webhook_receiver import Receiver

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def world(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with operator_world.world(control_plane, tmp_path) as found:
        yield found


def test_a_separation_is_one_trace(world: World, tmp_path: Path) -> None:
    api_world.grant(world.plane, world.namespace)
    kubeconfig = world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT)
    with Collector() as collector, Receiver() as receiver:
        ours = {**world.environment, **collector.environment, "STEMYARD_NAMESPACE": world.namespace}
        with (
            api_process(tmp_path, {**ours, "KUBECONFIG": str(kubeconfig)}) as api,
            api.client() as client,
            world.operating(**collector.environment, WEBHOOK_URL=receiver.url("/own")),
        ):
            body = {"url": "https://example.com/song.mp3"}
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
            answer = client.post("/separate-audio", json=body, headers=headers)
            assert answer.status_code == 202, answer.text
            name = f"sep-{answer.json()['track_id']}"
            annotated = world.plane.api.get(world.path("separationjobs", name))["metadata"]["annotations"]
            for stage in WorkStage:
                job = world.wait_job(stage, name=name)
                world.succeed(job, world.run(job))
            eventually(lambda: receiver.received)
            eventually(
                lambda: {"POST /separate-audio", "separation", "webhook"} <= {one.name for one in collector.spans}
            )
        [asked] = collector.named("POST /separate-audio")
        assert (asked.service, asked.parent) == ("stemyard-api", CALLER)
        assert annotated[ANNOTATION_TRACEPARENT] == f"00-{TRACE}-{asked.id}-01"
        below = [one for one in collector.spans if one is not asked]
        assert sorted(one.name for one in below) == ["fetch", "queue", "separate", "separation", "webhook"]
        assert {one.trace for one in collector.spans} == {TRACE}
        assert {(one.service, one.parent) for one in below} == {("stemyard-operator", asked.id)}
        assert {one.attributes["stemyard.track_id"] for one in below} == {answer.json()["track_id"]}
        [sent] = collector.named("webhook")
        assert receiver.received[0].headers["traceparent"] == f"00-{TRACE}-{sent.id}-01"
        [whole] = collector.named("separation")
        assert 0 < whole.seconds < 60
