"""The alerts as Prometheus' own tool reads them, and at which series they fire."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.rendered import NAMESPACE
from tests.chart.test_monitoring import alerts
from tests.support.prometheus import program

OPERATOR: Final = f'namespace="{NAMESPACE}", pod="operator"'
API: Final = f'namespace="{NAMESPACE}", pod="api"'
READ: Final = f'{API}, route="/job/{{track_id}}", method="GET"'


@dataclass(frozen=True)
class Case:
    """Series with a value each minute, in promtool's notation, and when an alert fires.

    `0+1x10` begins at 0 and grows by 1 ten times; `_` is a scrape without this series.
    """

    name: str
    alert: str
    series: Mapping[str, str]
    fires: tuple[int, ...] = ()
    """Minutes at which it fires."""
    silent: tuple[int, ...] = ()
    """Minutes at which it does not."""
    labels: Mapping[str, str] | None = None
    """Labels of the firing alert beside those of its rule."""


def ended(**phases: str) -> dict[str, str]:
    return {
        f'stemyard_separations_ended_total{{{OPERATOR}, phase="{phase}"}}': values for phase, values in phases.items()
    }


def failures(stage: str, code: str, values: str) -> dict[str, str]:
    return {f'stemyard_failures_total{{{OPERATOR}, stage="{stage}", code="{code}"}}': values}


def buckets(metric: str, labels: str, **bounds: str) -> dict[str, str]:
    return {f'{metric}_bucket{{{labels}, le="{bound.lstrip("_")}"}}': values for bound, values in bounds.items()}


CASES: Final = (
    Case(
        "one of two replicas leads",
        "StemyardNoLeader",
        {f"stemyard_leader{{{OPERATOR}}}": "1x30", f'stemyard_leader{{namespace="{NAMESPACE}", pod="b"}}': "0x30"},
        silent=(1, 30),
    ),
    Case(
        "a failover of a minute is none, one that does not end is",
        "StemyardNoLeader",
        {
            f"stemyard_leader{{{OPERATOR}}}": "1x10 0x10",
            f'stemyard_leader{{namespace="{NAMESPACE}", pod="b"}}': "0 0x10 1 0x9",
        },
        silent=(11, 12),
        fires=(16,),
    ),
    Case(
        "the leader of another installation",
        "StemyardNoLeader",
        {'stemyard_leader{namespace="elsewhere", pod="operator"}': "1x30"},
        fires=(5,),
    ),
    Case(
        "a standby that lists is enough",
        "StemyardBlind",
        {
            f"stemyard_resync_age_seconds{{{OPERATOR}}}": "0+60x20",
            f'stemyard_resync_age_seconds{{namespace="{NAMESPACE}", pod="b"}}': "30x20",
        },
        silent=(20,),
    ),
    Case(
        "nobody lists",
        "StemyardBlind",
        {f"stemyard_resync_age_seconds{{{OPERATOR}}}": "0+60x20"},
        silent=(8,),
        fires=(9, 20),
    ),
    Case(
        "one of two namespaces cannot be read",
        "StemyardNamespaceUnreadable",
        {
            f'stemyard_namespace_readable{{{OPERATOR}, watched_namespace="a"}}': "1x20",
            f'stemyard_namespace_readable{{{OPERATOR}, watched_namespace="b"}}': "1x5 0x15",
        },
        silent=(10,),
        fires=(11,),
        labels={"watched_namespace": "b"},
    ),
    Case(
        "nothing to do for hours, and then a song that takes half an hour",
        "StemyardStandsStill",
        {f'stemyard_separations{{{OPERATOR}, phase="Separating"}}': "0x180 1x30 0x30", **ended(Completed="0x210 1x30")},
        silent=(180, 210, 240),
    ),
    Case(
        "songs wait, and none ends",
        "StemyardStandsStill",
        {f'stemyard_separations{{{OPERATOR}, phase="Queued"}}': "3x200", **ended(Completed="7x200", Failed="1x200")},
        silent=(59,),
        fires=(62, 200),
    ),
    Case(
        "those that ended long ago are no work",
        "StemyardStandsStill",
        {f'stemyard_separations{{{OPERATOR}, phase="Completed"}}': "9x200", **ended(Completed="9x200")},
        silent=(200,),
    ),
    Case(
        "three in ten fail",
        "StemyardManyFailures",
        ended(Completed="0+7x60", Failed="0+3x60"),
        silent=(9,),
        fires=(15, 60),
    ),
    Case("one in ten fails", "StemyardManyFailures", ended(Completed="0+9x60", Failed="0+1x60"), silent=(60,)),
    Case("two fail at night", "StemyardManyFailures", ended(Completed="0x60", Failed="0x10 2x50"), silent=(25, 60)),
    Case(
        "ten songs are cancelled while they are fetched",
        "StemyardFetchFails",
        {**failures("fetch", "SOURCE_NETWORK", "0x60"), **ended(Cancelled="0x10 10x50")},
        silent=(25,),
    ),
    Case(
        "ten songs cannot be fetched, for two reasons",
        "StemyardFetchFails",
        {**failures("fetch", "SOURCE_NETWORK", "0x10 5x50"), **failures("fetch", "SOURCE_BOT_CHECK", "0x12 5x48")},
        fires=(25,),
        silent=(10, 60),
    ),
    Case(
        "the first three songs after a start cannot be read",
        "StemyardExtractorBroken",
        {**failures("fetch", "EXTRACTOR_BROKEN", "0x5 3x40"), **ended(Completed="0x45", Failed="0x5 3x40")},
        fires=(20,),
    ),
    Case(
        "three songs of a hundred cannot be read",
        "StemyardExtractorBroken",
        {**failures("fetch", "EXTRACTOR_BROKEN", "0x5 3x40"), **ended(Completed="0+4x45", Failed="0x5 3x40")},
        silent=(40,),
    ),
    Case(
        "one song in two waits for an hour",
        "StemyardLongQueue",
        buckets(
            "stemyard_queue_wait_seconds",
            f'{OPERATOR}, profile="gpu"',
            _1800="0+1x90",
            _3600="0+2x90",
            **{"_+Inf": "0+2x90"},
        ),
        silent=(29,),
        fires=(40, 90),
        labels={"profile": "gpu"},
    ),
    Case(
        "no song waits",
        "StemyardLongQueue",
        buckets(
            "stemyard_queue_wait_seconds", f'{OPERATOR}, profile="gpu"', _1800="5x90", _3600="5x90", **{"_+Inf": "5x90"}
        ),
        silent=(90,),
    ),
    Case(
        "one call in ten is throttled",
        "StemyardClusterRefuses",
        {
            f'stemyard_kubernetes_requests_total{{{OPERATOR}, verb="get", resource="jobs", code="200"}}': "0+90x30",
            f'stemyard_kubernetes_requests_total{{{OPERATOR}, verb="get", resource="jobs", code="429"}}': "0+10x30",
        },
        fires=(20,),
    ),
    Case(
        "conflicts and absent objects are no refusals",
        "StemyardClusterRefuses",
        {
            f'stemyard_kubernetes_requests_total{{{OPERATOR}, verb="get", resource="jobs", code="404"}}': "0+50x30",
            f'stemyard_kubernetes_requests_total{{{OPERATOR}, verb="patch", resource="jobs", code="409"}}': "0+50x30",
        },
        silent=(30,),
    ),
    Case(
        "one delivery is given up, for an hour",
        "StemyardWebhooksFail",
        {f'stemyard_webhook_deliveries_total{{{OPERATOR}, outcome="given_up"}}': "0x10 1x120"},
        silent=(10, 90),
        fires=(20, 60),
    ),
    Case(
        "two requests in a hundred fail",
        "StemyardApiFails",
        {
            f'stemyard_api_request_seconds_count{{{READ}, status="2xx"}}': "0+98x20",
            f'stemyard_api_request_seconds_count{{{READ}, status="5xx"}}': "0+2x20",
        },
        fires=(10,),
    ),
    Case(
        "requests that clients got wrong are no failures",
        "StemyardApiFails",
        {
            f'stemyard_api_request_seconds_count{{{READ}, status="2xx"}}': "0+10x20",
            f'stemyard_api_request_seconds_count{{{READ}, status="4xx"}}': "0+90x20",
        },
        silent=(20,),
    ),
    Case(
        "reads are slow",
        "StemyardApiSlow",
        buckets(
            "stemyard_api_request_seconds",
            f'{READ}, status="2xx"',
            _1="0+90x30",
            **{"_2.5": "0+100x30", "_+Inf": "0+100x30"},
        ),
        fires=(20,),
    ),
    Case(
        "a long wait for another track's end is not slow",
        "StemyardApiSlow",
        buckets(
            "stemyard_api_request_seconds",
            f'{API}, route="/job/{{track_id}}/wait", method="GET", status="2xx"',
            _1="0x30",
            **{"_30": "0+9x30", "_+Inf": "0+9x30"},
        ),
        silent=(30,),
    ),
    Case(
        "Redis does not answer one of two pods",
        "StemyardDependencyDown",
        {
            f'stemyard_api_dependency_up{{{API}, dependency="redis"}}': "1x5 0x15",
            f'stemyard_api_dependency_up{{namespace="{NAMESPACE}", pod="b", dependency="redis"}}': "1x20",
            f'stemyard_api_dependency_up{{{API}, dependency="storage"}}': "1x20",
        },
        silent=(10,),
        fires=(11,),
        labels={"dependency": "redis"},
    ),
)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "stemyard", "rules": alerts()}]}))
    return path


def promtool(*arguments: str | Path) -> str:
    """Run a command of promtool; what it finds is the test's failure."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_rules(rules: Path) -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", rules)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert + ": " + case.name)
def test_an_alert_fires_when_it_should(rules: Path, tmp_path: Path, case: Case) -> None:
    [rule] = [one for one in alerts() if one["alert"] == case.alert]
    firing = {"exp_labels": {**rule["labels"], **(case.labels or {})}, "exp_annotations": rule["annotations"]}
    expected = [*((minute, [firing]) for minute in case.fires), *((minute, list[Any]()) for minute in case.silent)]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": found} for minute, found in expected
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", file)


def test_the_alert_of_another_installation_is_another_alert() -> None:
    """Alertmanager takes alerts with the same labels for one."""
    assert {alert["labels"]["namespace"] for alert in alerts()} == {NAMESPACE}
