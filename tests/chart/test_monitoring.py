"""Alerts and dashboard: they parse, ask for metrics that there are, and every alert has its part in the runbook."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from charts.helm import CHART
from documentation.metrics_reference import metrics_reference
from stemyard_api.observability.metrics import GaugeValues as ApiReadings
from stemyard_api.observability.metrics import Metrics as ApiMetrics
from stemyard_contract.failures import FailureCode
from stemyard_operator.observability.metrics import METRICS_PATH
from tests.chart.rendered import NAMESPACE, RELEASE, case, container, find, of_kind
from tests.operator.observability.test_metrics import metrics_of

RUNBOOK = Path(__file__).parents[2] / "docs/08-runbook.md"
VARIABLES = Path(__file__).parents[2] / "api/README.md"
DASHBOARD = CHART / "files/dashboards/stemyard.json"
OWN = re.compile(r"\bstemyard_[a-z_]+")
PROCESS = {"process_resident_memory_bytes"}


def alerts() -> list[dict[str, Any]]:
    [group] = find(case("everything"), "PrometheusRule", f"{RELEASE}-alerts")["spec"]["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def queries() -> list[str]:
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*(alert["expr"] for alert in alerts()), *map(filled, shown)]


def filled(query: str) -> str:
    """A query of the dashboard with its variables filled in as Grafana does."""
    variables = {one["name"]: one["query"] for one in dashboard()["templating"]["list"]}
    return query.replace("$__rate_interval", "5m").replace("$gpu_price", variables["gpu_price"])


def selected(query: str) -> set[str]:
    """Names of the metrics that a query asks for."""
    return set(OWN.findall(query)) | {name for name in PROCESS if name in query}


def offered() -> set[str]:
    """Names of all series that the parts offer."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    api = ApiMetrics()
    api.watch(lambda: ApiReadings(streams=0, backend="redis", up={"redis": True}))
    exposed = api.text().decode() + generate_latest(metrics_of().registry).decode()
    return {
        family.name + ending
        for family in text_string_to_metric_families(exposed)
        for ending in endings.get(family.type, ("",))
    }


def test_every_metric_that_is_asked_for_is_offered() -> None:
    asked = {name for query in queries() for name in selected(query)}
    assert len(asked) > 10
    assert asked - PROCESS <= offered()


def test_queries_group_by_labels_that_there_are() -> None:
    rows = re.findall(r"(?m)^\| `(stemyard_\w+)` \| \w+ \| (.*?) \|", metrics_reference())
    labels = {name: set(re.findall(r"`(\w+)`", cells)) for name, cells in rows}
    for query in queries():
        grouped = {label for part in re.findall(r"(?:by|on) \(([^)]+)\)", query) for label in part.split(", ")}
        series = {re.sub(r"_(bucket|sum|count)$", "", name) for name in selected(query) - PROCESS}
        assert grouped - {"le", "pod", "namespace"} <= {label for name in series for label in labels[name]}, query


def test_the_dashboard_shows_what_operators_look_for() -> None:
    asked = {
        panel["title"]: selected(" ".join(one["expr"] for one in panel["targets"])) for panel in dashboard()["panels"]
    }
    held, busy = "stemyard_gpu_seconds_total", "stemyard_gpu_busy_seconds_total"
    assert asked["GPUs held and busy"] == {held, busy, "stemyard_gpu_idle_seconds_total"}
    assert asked["Queue wait by namespace"] == {"stemyard_queue_wait_seconds_bucket"}
    assert asked["Failures by code"] == {"stemyard_failures_total"}
    assert {held, "stemyard_separations_ended_total"} < asked["GPU cost per song"]


@pytest.mark.parametrize("query", queries())
def test_queries_are_promql(query: str) -> None:
    promql_parser.parse(query)


def test_a_broken_query_would_be_found() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        promql_parser.parse("sum(stemyard_leader")


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_every_alert_leads_to_its_part_of_the_runbook(alert: dict[str, Any]) -> None:
    url, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert url.endswith(f"/docs/{RUNBOOK.name}")
    headings = re.findall(r"(?m)^#+ (\w+)$", RUNBOOK.read_text())
    assert anchor in {heading.lower() for heading in headings}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+[mh]", alert["for"])
    assert f'namespace="{NAMESPACE}"' in alert["expr"]


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    shown = dashboard()
    places = [tuple(panel["gridPos"].values()) for panel in shown["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in shown["panels"]}) == len(places)
    stored = find(case("everything"), "ConfigMap", f"{RELEASE}-dashboard")
    assert json.loads(stored["data"]["stemyard.json"]) == shown
    assert stored["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.mark.parametrize("part", ["api", "operator"])
def test_the_monitors_read_where_the_parts_serve(part: str) -> None:
    objects = case("everything")
    monitor = find(objects, "PodMonitor", f"{RELEASE}-{part}")["spec"]
    [endpoint] = monitor["podMetricsEndpoints"]
    assert endpoint["path"] == METRICS_PATH
    assert endpoint["port"] in {port["name"] for port in container(objects, part)["ports"]}
    assert monitor["selector"] == find(objects, "Deployment", f"{RELEASE}-{part}")["spec"]["selector"]


@pytest.mark.parametrize("part", ["api", "operator"])
def test_service_monitors_find_a_service_and_the_port_of_its_pods(part: str) -> None:
    objects = case("kept")
    monitor = find(objects, "ServiceMonitor", f"{RELEASE}-{part}")
    [endpoint] = monitor["spec"]["endpoints"]
    assert (endpoint["path"], endpoint["interval"]) == (METRICS_PATH, "1m")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    [service] = [one for one in of_kind(objects, "Service") if wanted <= one["metadata"]["labels"].items()]
    assert endpoint["targetPort"] in {port["name"] for port in container(objects, part)["ports"]}
    if part == "api":  # whoever reaches the Service, such as the Ingress, does not reach the metrics
        assert endpoint["targetPort"] not in {port["targetPort"] for port in service["spec"]["ports"]}
    assert not of_kind(objects, "PodMonitor")


def test_the_runbook_speaks_of_failure_codes_and_variables_that_there_are() -> None:
    names = re.compile(r"`([A-Z]+(?:_[A-Z]+)+)`")
    named = set(names.findall(RUNBOOK.read_text()))
    variables = set(names.findall(VARIABLES.read_text()))
    assert named
    assert named <= {str(code) for code in FailureCode} | variables
