"""A real Prometheus that scrapes what a test starts, and the selectors of its queries."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml

from localcluster.control_plane import free_port
from localcluster.errors import MissingPrerequisiteError
from localcluster.folders import here
from localcluster.tools import path_of
from tests.support.servers import Server

Labels = Mapping[str, str]


def program(name: str) -> Path:
    """Return `prometheus` or `promtool`; skip the test on a machine without Debian's packages that lacks it."""
    try:
        return path_of(name, here())
    except MissingPrerequisiteError as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Target:
    """An endpoint to scrape, and the labels that its monitor gives to its series."""

    job: str
    address: str
    path: str
    labels: Labels


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    client: httpx.Client

    def get(self, path: str, **parameters: str | float) -> Any:
        """Return the data of an answer of its API; one that is an error fails the test."""
        answer = self.client.get(f"/api/v1/{path}", params=parameters)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body['error']}"
        return body["data"]

    def series(self, selector: str) -> list[dict[str, str]]:
        """Return the labels of all series that a selector finds."""
        return list(self.get("series", **{"match[]": selector}))

    def value(self, query: str) -> float | None:
        """Return the value of a query with one result now, None if it has none."""
        found = self.get("query", query=query)["result"]
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def range(self, query: str, start: float, end: float) -> list[tuple[dict[str, str], list[float]]]:
        """Return the labels and values of each result of a query in this time, as a panel asks for it."""
        found = self.get("query_range", query=query, start=start, end=end, step=1)["result"]
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in found]


@contextlib.contextmanager
def prometheus(folder: Path, targets: Sequence[Target], groups: Sequence[Any]) -> Iterator[Prometheus]:
    """Run a server that scrapes these targets, and evaluates these groups of rules, once a second."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups)}))
    scraped = [
        {
            "job_name": one.job,
            "metrics_path": one.path,
            "static_configs": [{"targets": [one.address], "labels": dict(one.labels)}],
        }
        for one in targets
    ]
    timing = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": timing, "rule_files": ["rules.yaml"], "scrape_configs": scraped}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = [f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb"]
    server = Server("prometheus", [str(program("prometheus")), *options], port, folder)
    with server.running(), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        server.wait_until(lambda: client.get("/-/ready").status_code == 200)
        yield Prometheus(client)


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    """Return all selectors of a query."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def grouped(query: str) -> set[str]:
    """Return the labels that a query groups or joins by."""
    found: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None and node.modifier.matching:
            found.update(node.modifier.matching.labels)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found
