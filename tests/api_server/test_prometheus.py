"""Every query of the dashboard and every alert, evaluated by a real Prometheus that scrapes operator and API."""

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from promql_parser import VectorSelector

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.leasing import DESK_LEASE_PATH, LeaseRequest, SongEnd
from stemyard_operator.observability.metrics import METRICS_PATH
from tests.api_server.test_operator_workers import start_worker
from tests.chart.rendered import NAMESPACE, RELEASE
from tests.chart.test_monitoring import alerts, dashboard, filled
from tests.support import api_world
from tests.support.operator_world import Operator, World, eventually, world
from tests.support.prometheus import Prometheus, Target, grouped, prometheus, selectors
from tests.support.servers import Api, api_process
from tests.support.webhook_receiver import Receiver, status

FETCH, SEPARATE = WorkStage
PAGE: Final = Path(__file__).parents[2] / "docs/05-observability.md"
PROFILES: Final = {
    "default": {"separate": {"gpu": {"count": 1}}},
    "shared": {"separate": {"gpu": {"count": 1}, "worker": {"songs": 10, "idleSeconds": 5}}},
}
SCRAPE_SECONDS: Final = 1
NO_TROUBLE: Final = {
    "stemyard_reconcile_retries_total": "no reconcile failed",
    "stemyard_mirror_lag_seconds": "Redis answers",
    "stemyard_mirror_waiting": "Redis answers",
    "stemyard_webhooks_pending": "all were delivered or given up",
    "stemyard_api_rate_limited_total": "the limits are off",
    "stemyard_sweep_stopped": "nothing is in the bucket for long enough to be swept",
    "stemyard_sweep_failing": "nothing is in the bucket for long enough to be swept",
    "stemyard_sweep_orphans": "nothing is in the bucket for long enough to be swept",
    "stemyard_sweep_unwatched": "nothing is in the bucket for long enough to be swept",
}
"""Metrics that may be 0 throughout a run like this one, and why."""
NO_ERRORS: Final = {
    'stemyard_api_request_seconds_count{namespace="songs",status="5xx"}': "the API has no errors",
    'stemyard_kubernetes_requests_total{code=~"0|401|403|429|5..",namespace="songs"}': "the API server has no errors",
    'stemyard_kubernetes_requests_total{code!~"2..",namespace=~"songs"}': "the API server has no errors",
}
"""Selectors that may find nothing after a run like this one, and why."""


@dataclass(frozen=True)
class Run:
    """What is left of the run: the server that scraped it, from when on, and until when."""

    server: Prometheus
    begun: float
    ended: float


@pytest.fixture(scope="module")
def run(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Separations that complete, are copied, retried, leased, fail, are cancelled and go on, seen by a Prometheus."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "profiles.json").write_text(json.dumps({"profiles": PROFILES}))
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        receiver.behaviours["/gone"] = status(410)
        running = stack.enter_context(world(control_plane, folder))
        running.environment |= {
            "PROFILES_FILE": str(folder / "profiles.json"),
            "WEBHOOK_ALLOWED_ORIGINS": receiver.url(""),
            "MAX_ACTIVE_FETCH": "20",
        }
        operator = stack.enter_context(running.operating())
        api = stack.enter_context(started_api(running))
        targets = (target("operator", operator.health_port), target("api", int(api.server.environment["HEALTH_PORT"])))
        groups = [{"name": "stemyard", "rules": alerts()}]
        server = stack.enter_context(prometheus(folder, targets, groups))
        eventually(lambda: server.value("sum(stemyard_leader)") == 1)
        eventually(lambda: len(server.series("stemyard_api_event_streams")) == 1)
        begun = time.time()
        track = through_the_api(running, api)
        through_resources(running, receiver)
        through_a_worker(running, operator)
        read(api, track)
        yield Run(server, begun, time.time())


def started_api(running: World) -> Any:
    """Return the API of an operator's world, not started yet."""
    api_world.grant(running.plane, running.namespace)
    kubeconfig = running.plane.kubeconfig_of_account(running.namespace, api_world.ACCOUNT)
    environment = {
        **running.environment,
        "STEMYARD_NAMESPACE": running.namespace,
        "KUBECONFIG": str(kubeconfig),
        "RATE_LIMIT_SUBMITS_PER_MINUTE": "0",
    }
    return api_process(running.folder, environment)


def target(part: str, port: int) -> Target:
    """Return an endpoint with the labels that the chart's PodMonitor gives."""
    labels = {"namespace": NAMESPACE, "pod": f"{RELEASE}-{part}-7d9f-x2x", "container": part, "endpoint": "health"}
    return Target(f"{NAMESPACE}/{RELEASE}-{part}", f"127.0.0.1:{port}", METRICS_PATH, labels)


def through_the_api(running: World, api: Api) -> str:
    """One that completes, one that fails and one that is cancelled; return the first one's track."""
    with api.client() as client:
        found = {word: submit(client, word) for word in ("found", "missing", "unwanted")}
        work(running, FETCH, f"sep-{found['found']}", seconds=1.1)
        work(running, SEPARATE, f"sep-{found['found']}", seconds=1.1)
        job = running.wait_job(FETCH, name=f"sep-{found['missing']}")
        running.fail(job, running.run(job), "SOURCE_NOT_FOUND")
        job = running.wait_job(FETCH, name=f"sep-{found['unwanted']}")
        running.run(job)
        assert client.post(f"/job/{found['unwanted']}/cancel").is_success
        path = running.path("jobs", job["metadata"]["name"])
        eventually(lambda: "deletionTimestamp" in running.plane.api.get(path)["metadata"])
        running.plane.api.merge(path, {"metadata": {"finalizers": None}})
        ends = {"found": "Completed", "missing": "Failed", "unwanted": "Cancelled"}
        for word, phase in ends.items():
            eventually(lambda: client.get(f"/job/{found[word]}").json()["phase"] == phase)  # noqa: B023 - used at once
        assert submit(client, "found") == found["found"]
        assert client.get("/job/00000000-0000-5000-8000-000000000000").status_code == 404
    return found["found"]


def read(api: Api, track: str) -> None:
    """Read a track until the reads are in two scrapes: a rate does not see the first value of a series."""
    for _ in range(3):
        with api.client() as client:
            client.get(f"/job/{track}").raise_for_status()
        time.sleep(SCRAPE_SECONDS)


def submit(client: httpx.Client, query: str) -> str:
    return str(client.post("/separate-audio", json={"search_query": query}).raise_for_status().json()["track_id"])


def through_resources(running: World, receiver: Receiver) -> None:
    """Two of one recording with webhooks; the second is tried twice; a third is still fetched at the end."""
    hooks = [{"url": receiver.url("/kept")}, {"url": receiver.url("/gone")}]
    running.create("first", webhooks=hooks)
    running.separate("first")
    running.create("second")
    job = running.wait_job(FETCH, name="second")
    running.fail(job, running.run(job), "INTERNAL_IO")
    job = running.wait_job(FETCH, 2, name="second")
    running.succeed(job, running.run(job), recording=f"{running.namespace}/first")
    eventually(lambda: running.phase("second") == "Completed")
    running.create("third")
    running.run(running.wait_job(FETCH, name="third"))
    eventually(lambda: running.phase("third") == "Fetching")
    eventually(lambda: not any(one.pending for one in running.separation("first").status.webhooks))


def through_a_worker(running: World, operator: Operator) -> None:
    running.create("leased", profile="shared")
    work(running, FETCH, "leased")
    worker = start_worker(running, operator)
    song = worker.lease()
    time.sleep(1.1)
    ended = SongEnd(uid=song.uid, run=song.run, outcome=Outcome(stage=SEPARATE, mark=worker.publish(song)))
    request = LeaseRequest(
        shape=worker.shape, wanted=False, holding=[], ended=[ended], starting_seconds=1, idle_seconds=2
    )
    assert worker.call(DESK_LEASE_PATH, json.loads(request.dump())).status_code == 204
    eventually(lambda: running.phase("leased") == "Completed")


def work(running: World, stage: WorkStage, name: str, seconds: float = 0) -> None:
    """Run a stage for so long, and let it succeed."""
    job = running.wait_job(stage, name=name)
    pod = running.run(job)
    time.sleep(seconds)
    running.succeed(job, pod)


def panels() -> list[Any]:
    return [
        pytest.param(one, id=f"{panel['title']} {one['refId']}")
        for panel in dashboard()["panels"]
        for one in panel["targets"]
    ]


def documented() -> list[str]:
    """Return the queries of the page on observability, which are below a comment each."""
    blocks = re.findall(r"(?ms)^```promql\n(.+?)^```", PAGE.read_text())
    return [query.strip() for block in blocks for query in re.split(r"(?m)^#.*$", block) if query.strip()]


def at_once(query: str) -> str:
    """A query of the dashboard as Grafana sends it: with its variables filled in."""
    rate_interval = f"{4 * SCRAPE_SECONDS}s"
    return filled(query.replace("$__rate_interval", rate_interval)).replace("$namespace", NAMESPACE)


def may_be_silent(query: str) -> bool:
    """Whether a query may give 0 or nothing after this run."""
    found = selectors(query)
    return {one.name for one in found} <= NO_TROUBLE.keys() or not NO_ERRORS.keys().isdisjoint(map(text, found))


def text(selector: VectorSelector) -> str:
    return str(selector.prettify())


@pytest.mark.parametrize("shown", panels())
def test_a_panel_shows_what_happened(run: Run, shown: dict[str, Any]) -> None:
    query = at_once(shown["expr"])
    results = run.server.range(query, run.begun, run.ended)
    for labels, _ in results:
        assert set(re.findall(r"{{(\w+)}}", shown["legendFormat"])) <= labels.keys()
    values = [value for _, found in results for value in found if math.isfinite(value)]
    assert any(values) or may_be_silent(query), "no data" if not values else "0 all the time"


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_what_is_exported(run: Run, alert: dict[str, Any]) -> None:
    for selector in selectors(alert["expr"]):
        assert run.server.series(text(selector)) or text(selector) in NO_ERRORS, text(selector)
        exported = {label for series in run.server.series(str(selector.name)) for label in series}
        assert {one.name for one in selector.matchers.matchers} <= exported
        assert grouped(alert["expr"]) <= exported


@pytest.mark.parametrize("query", documented())
def test_a_query_of_the_documentation_is_answered(run: Run, query: str) -> None:
    run.server.get("query", query=query)
    for selector in selectors(query):
        assert run.server.series(text(selector)) or text(selector) in NO_ERRORS, text(selector)


def test_no_rule_is_an_error_and_only_the_alert_of_what_failed_is_due(run: Run) -> None:
    [group] = run.server.get("rules")["groups"]
    assert {rule["name"] for rule in group["rules"]} == {alert["alert"] for alert in alerts()}
    assert {rule["name"]: rule.get("lastError") for rule in group["rules"] if rule["health"] != "ok"} == {}
    eventually(lambda: due(run) == {"StemyardWebhooksFail"})


def due(run: Run) -> set[str]:
    """Return the alerts whose condition holds, for long enough or not."""
    return {str(alert["labels"]["alertname"]) for alert in run.server.get("alerts")["alerts"]}


def test_the_dashboard_finds_the_namespace(run: Run) -> None:
    """Its variable is `label_values`, which Grafana asks for in this way."""
    [variable] = [one for one in dashboard()["templating"]["list"] if one["name"] == "namespace"]
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert asked is not None
    assert run.server.get(f"label/{asked[2]}/values", **{"match[]": asked[1]}) == [NAMESPACE]


def test_a_metric_that_there_is_not_would_be_found(run: Run) -> None:
    with pytest.raises(AssertionError, match="parse error"):
        run.server.get("query", query="sum(stemyard_leader")
    assert run.server.series("stemyard_no_such_metric") == []
