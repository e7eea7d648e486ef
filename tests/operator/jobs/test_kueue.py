"""Jobs that go through a queue of Kueue: whose labels, whose limits, and why they wait."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import LABEL_QUEUE, Phase, Reason
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.jobs.kueue import LABEL_PRIORITY, workload_of
from stemyard_operator.model.pod import Workload
from tests.operator.decision.test_decide import UNSCHEDULABLE, conditions, failure, pending
from tests.operator.world import SPEC, World, settings, stamp

FETCH, SEPARATE = WorkStage
ROOT = Path(__file__).parents[3]
PENDING = Workload(Reason.WAITING_FOR_QUOTA, "Pending: couldn't assign flavors to pod set main")


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    (tmp_path / "profiles.yaml").write_text(
        "profiles: {default: {queueName: music}, fetched: {fetch: {queueName: net}}}"
    )
    return settings(profiles_file=tmp_path / "profiles.yaml", kueue_enabled=True)


def fetched(config: Settings, **world: Any) -> World:
    """A world that has no room of its own for separate Jobs."""
    found = World(config=config, room={FETCH}, **world)
    found.settle()
    found.succeed(found.job(FETCH))
    found.settle()
    return found


def queue(world: World, stage: WorkStage) -> str | None:
    found: str | None = world.job(stage)["metadata"]["labels"].get(LABEL_QUEUE)
    return found


def held(world: World, **job: Any) -> None:
    world.job(SEPARATE)["spec"]["suspend"] = True
    world.job(SEPARATE)["status"] = job


def test_the_queue_is_the_labels_else_the_profiles_and_bounds_instead_of_us(config: Settings) -> None:
    world = fetched(config)
    assert queue(world, SEPARATE) == "music"
    assert queue(world, FETCH) is None
    labels = {LABEL_QUEUE: "own", LABEL_PRIORITY: "high", "argocd.argoproj.io/instance": "prod"}
    world = fetched(config, labels=labels)
    assert queue(world, SEPARATE) == "own"
    made = world.job(SEPARATE)["metadata"]["labels"]
    assert made[LABEL_PRIORITY] == "high"
    assert "argocd.argoproj.io/instance" not in made
    assert LABEL_QUEUE not in world.job(SEPARATE)["spec"]["template"]["metadata"]["labels"]
    world = World(spec={**SPEC, "profile": "fetched"}, config=config)
    world.settle()
    assert queue(world, FETCH) == "net"


def admit(job: dict[str, Any]) -> None:
    job["spec"]["suspend"] = False


def test_a_job_for_a_queue_is_created_suspended(config: Settings) -> None:
    """So that only Kueue starts it, even where its webhook does not see the Job."""
    world = fetched(config)
    assert world.job(SEPARATE)["spec"]["suspend"] is True
    assert "suspend" not in world.job(FETCH)["spec"]
    world.wait(5)
    world.settle()
    assert conditions(world)["Admitted"] == ("False", "Waiting")
    assert world.requeue_after == pytest.approx(10)
    world.workloads[world.created[-1]] = PENDING
    world.settle()
    assert conditions(world)["Admitted"] == ("False", "WaitingForQuota")
    world = World(spec={**SPEC, "profile": "fetched"}, config=config)
    world.settle()
    assert world.job(FETCH)["spec"]["suspend"] is True


def test_a_fetch_in_a_queue_waits_until_the_queue_deadline(config: Settings) -> None:
    world = World(spec={**SPEC, "profile": "fetched", "deadlines": {"queue": 5000, "start": 60}}, config=config)
    world.settle()
    world.workloads[world.created[-1]] = PENDING
    world.wait(4999)
    world.settle()
    assert conditions(world)["Fetched"] == ("False", "WaitingForQuota")
    world.wait(1)
    world.settle()
    assert failure(world) == "QUEUE_DEADLINE"


def test_without_kueue_a_label_means_nothing() -> None:
    world = World(labels={LABEL_QUEUE: "own"})
    world.settle()
    world.succeed(world.job(FETCH))
    world.settle()
    assert queue(world, SEPARATE) is None


def test_what_kueue_says_is_said_and_the_job_is_not_touched(config: Settings) -> None:
    world = fetched(config)
    held(world)
    world.workloads[world.created[-1]] = PENDING
    world.wait(6)
    world.settle()
    admitted = next(one for one in world.separation.status.conditions if one.type == "Admitted")
    assert (admitted.status, admitted.reason, admitted.message) == ("False", "WaitingForQuota", PENDING.message)
    assert world.phase() is Phase.QUEUED
    world.wait(3000)
    world.settle()
    assert "deletionTimestamp" not in world.job(SEPARATE)["metadata"]
    world.job(SEPARATE)["spec"]["suspend"] = False
    world.run(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.SEPARATING


def test_an_eviction_queues_it_again_and_is_no_failure(config: Settings) -> None:
    world = fetched(config)
    world.run(world.job(SEPARATE))
    world.settle()
    held(world)
    world.workloads[world.created[-1]] = Workload(Reason.EVICTED, "Preempted: to accommodate a workload")
    world.settle()
    assert world.phase() is Phase.QUEUED
    assert conditions(world)["Admitted"] == ("False", "Evicted")
    world.job(SEPARATE)["spec"]["suspend"] = False
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert len(world.created) == 2


def test_what_kueue_has_admitted_is_admitted_and_waits_for_a_node_as_such(config: Settings) -> None:
    world = fetched(config)
    admit(world.job(SEPARATE))
    pending(world, SEPARATE, conditions=UNSCHEDULABLE)
    world.wait(6)
    world.settle()
    assert world.phase() is Phase.QUEUED
    assert conditions(world)["Admitted"] == ("True", "Admitted")
    separated = next(one for one in world.separation.status.conditions if one.type == "Separated")
    assert (separated.status, separated.reason, separated.message) == ("False", "Unschedulable", "no GPU")
    world.run(world.job(SEPARATE))
    world.settle()
    assert conditions(world)["Admitted"] == ("True", "Scheduled")
    assert conditions(world)["Separated"] == ("False", "Running")


def test_the_start_of_a_fetch_is_awaited_from_when_kueue_let_go_of_it(config: Settings) -> None:
    world = World(spec={**SPEC, "profile": "fetched"}, config=config)
    world.settle()
    job, start = world.job(FETCH), world.separation.spec.deadlines.start
    world.wait(2 * start)
    admit(job)
    job["status"] = {"conditions": [{"type": "Suspended", "status": "False", "lastTransitionTime": stamp(world.now)}]}
    pending(world, FETCH, conditions=UNSCHEDULABLE)
    failed = []
    for seconds in (start - 1, 1):
        world.wait(seconds)
        world.settle()
        assert world.separation.status.attempts is not None
        failed.append(world.separation.status.attempts.failed)
    assert failed == [0, 1]


def test_an_external_suspension_of_a_job_is_reported_after_a_minute(config: Settings) -> None:
    for settled in (config, settings()):
        world = World(config=settled)
        world.settle()
        world.succeed(world.job(FETCH))
        world.settle()
        since = {"type": "Suspended", "status": "True", "lastTransitionTime": stamp(world.now)}
        held(world, conditions=[since])
        world.wait(59)
        world.settle()
        assert conditions(world)["Admitted"] == ("False", "Waiting")
        assert world.requeue_after == pytest.approx(1)
        world.wait(1)
        world.settle()
        assert conditions(world)["Admitted"] == ("False", "SuspendedExternally")


def test_the_queue_deadline_holds_for_kueue_too(config: Settings) -> None:
    world = fetched(config, spec={**SPEC, "deadlines": {"queue": 60}})
    held(world)
    world.workloads[world.created[-1]] = PENDING
    world.wait(61)
    world.settle()
    assert failure(world) == "QUEUE_DEADLINE"
    assert "deletionTimestamp" in world.job(SEPARATE)["metadata"]


@pytest.mark.parametrize(
    ("conditions", "reason", "message"),
    [
        ([], "WaitingForQuota", "Kueue has not stated a reason yet."),
        ([("QuotaReserved", "False", "Pending", "no quota")], "WaitingForQuota", "Pending: no quota"),
        ([("QuotaReserved", "True", "QuotaReserved", "")], "WaitingForQuota", "Kueue has not stated a reason yet."),
        ([("Evicted", "True", "Preempted", "by x"), ("QuotaReserved", "False", "Pending", "")], "Evicted", None),
        ([("Evicted", "False", "QuotaReserved", ""), ("QuotaReserved", "False", "Inadmissible", "no queue")],
         "WaitingForQuota", "Inadmissible: no queue"),
    ],
)  # fmt: skip
def test_workloads_are_read(conditions: list[tuple[str, str, str, str]], reason: str, message: str | None) -> None:
    listed = [dict(zip(("type", "status", "reason", "message"), one, strict=True)) for one in conditions]
    found = workload_of({"status": {"conditions": listed}})
    assert found.reason == reason
    assert message in {None, found.message}


def test_a_profiles_queue_needs_kueue(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMYARD_INSTALL_ID", "install-1")
    monkeypatch.setenv("PROFILES_FILE", str(config.profiles_file))
    with pytest.raises(ConfigurationError, match="KUEUE_ENABLED"):
        load_settings()
    monkeypatch.setenv("KUEUE_ENABLED", "true")
    assert load_settings().profiles["default"].queue_name == "music"


def test_the_queue_of_the_documentation_covers_all_that_a_pod_asks_for(tmp_path: Path) -> None:
    """Kueue never admits a pod that asks for a resource its ClusterQueue does not cover."""
    page = (ROOT / "docs/07-install.md").read_text()
    [example] = [block for block in re.findall(r"(?s)```yaml\n(.*?)```", page) if "kind: ClusterQueue" in block]
    [cluster_queue] = [one for one in yaml.safe_load_all(example) if one["kind"] == "ClusterQueue"]
    covered = {name for group in cluster_queue["spec"]["resourceGroups"] for name in group["coveredResources"]}
    values = yaml.safe_load((ROOT / "charts/stemyard/values.yaml").read_text())
    profiles = {name: {**profile, "queueName": "music"} for name, profile in values["profiles"].items()}
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}))
    config = settings(profiles_file=tmp_path / "profiles.yaml", kueue_enabled=True)
    for profile in profiles:
        world = fetched(config, spec={**SPEC, "profile": profile})
        [container] = world.job(SEPARATE)["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["requests"].keys() <= covered, profile
