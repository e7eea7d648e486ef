"""A watched namespace that the operator may no longer read is unknown; the others go on, and it is taken up again."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from tests.api_server.test_operator_connections import proxy_of
from tests.api_server.test_operator_desk import links, put
from tests.api_server.test_operator_faults import leaders
from tests.support.faulty_proxy import GONE, Fault, when
from tests.support.operator_world import ACCOUNT, Operator, World, bind, bindings, eventually, second_namespace, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def home(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    """The operator's own namespace."""
    with world(control_plane, tmp_path) as found:
        yield found


@pytest.fixture
def tenant(home: World) -> World:
    """Another namespace, watched too; the operator has no rights there yet."""
    found = second_namespace(home)
    home.environment |= {
        "POD_NAME": "operator-0",
        "WATCH_NAMESPACES": f"{found.namespace},{home.namespace}",
        "RESYNC_SECONDS": "1",
    }
    return found


def readable(operator: Operator, namespace: str) -> float | None:
    return operator.metrics().get(("stemyard_namespace_readable", (namespace,)))


def events(home: World) -> list[dict[str, Any]]:
    found = home.plane.api.get(home.path("events"))["items"]
    return [event for event in found if event["reason"] == "NamespaceUnreadable"]


def test_a_namespace_that_cannot_be_read_at_the_start_stops_no_other(home: World, tenant: World) -> None:
    tenant.create("theirs")
    with home.operating() as operator:
        home.create("ours")
        home.separate("ours")
        assert operator.alive()
        assert operator.is_ready()
        assert (readable(operator, tenant.namespace), readable(operator, home.namespace)) == (0, 1)
        eventually(lambda: len(events(home)) == 1)
        [event] = events(home)
        assert event["type"] == "Warning"
        assert tenant.namespace in event["message"]
        assert tenant.phase("theirs") == ""
        bind(home.plane, tenant.namespace, home.namespace)
        tenant.separate("theirs")
        eventually(lambda: readable(operator, tenant.namespace) == 1)


def test_the_desk_serves_while_another_namespace_is_still_listed(home: World, tenant: World) -> None:
    bind(home.plane, tenant.namespace, home.namespace)
    with proxy_of(home).running() as proxy:
        home.environment["KUBECONFIG"] = str(proxy.kubeconfig(home.folder))
        with home.operating() as operator:
            home.create("ours")
            pod = home.run(home.wait_job(FETCH, name="ours"))
            operator.kill()
            proxy.plan = when(f"GET .*/namespaces/{tenant.namespace}/jobs", Fault(hang=True), times=100)
            started = time.monotonic()
            operator.start()
            answer = links(operator, home.token(pod), put("audio.flac"))
            assert answer.status_code == 200, answer.text
            assert time.monotonic() - started < 20, "a list takes at most 30 s"
            assert readable(operator, tenant.namespace) == 0


def test_a_namespace_that_is_lost_while_it_is_watched_stops_no_other(home: World, tenant: World) -> None:
    bind(home.plane, tenant.namespace, home.namespace)
    with proxy_of(home).running() as proxy:
        home.environment["KUBECONFIG"] = str(proxy.kubeconfig(home.folder))
        with home.operating(MAX_ACTIVE_FETCH="1") as operator:
            tenant.create("first")
            job = tenant.wait_job(FETCH, name="first")
            home.plane.api.delete(f"{bindings(tenant.namespace)}/{ACCOUNT}")
            eventually(lambda: readable(operator, tenant.namespace) == 0)
            # the watch lives on without rights: let it begin again, which is refused
            proxy.sieve = lambda event: GONE if tenant.namespace in str(event) else None
            tenant.create("second")
            home.create("ours")
            home.separate("ours")
            assert operator.alive()
            assert operator.is_ready()
            assert leaders(home) == "operator-0"
            bind(home.plane, tenant.namespace, home.namespace)
            tenant.succeed(job, tenant.run(job))
            job = tenant.wait_job(SEPARATE, name="first")
            tenant.succeed(job, tenant.run(job))
            eventually(lambda: tenant.phase("first") == "Completed")
            tenant.separate("second")
