"""A namespace whose quota, policy or webhook refuses Jobs: its SeparationJobs say so, and go on when it lets them."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from localcluster.control_plane import ControlPlane
from localcluster.errors import ApiRefusedError
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Condition
from tests.support.operator_world import World, eventually, world
from tests.support.webhook_receiver import Receiver

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
JOBS = [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}]
LABELLED = "has(object.metadata.labels) && 'cost-center' in object.metadata.labels"
FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        found.environment |= {"RETRY_BASE_SECONDS": "1", "RETRY_MAX_SECONDS": "1"}
        yield found


@contextmanager
def having(running: World, path: str, body: dict[str, Any]) -> Iterator[None]:
    """Keep an object of this name while the block runs."""
    running.plane.api.post(path, body)
    try:
        yield
    finally:
        running.plane.api.delete(f"{path}/{body['metadata']['name']}")


@contextmanager
def quota(running: World) -> Iterator[None]:
    """A quota without room for a Job. Its status is written here, as no controller runs."""
    path, hard = running.path("resourcequotas"), {"count/jobs.batch": "0"}
    with having(running, path, {"metadata": {"name": "tenant"}, "spec": {"hard": hard}}):
        status = {"status": {"hard": hard, "used": {"count/jobs.batch": "0"}}}
        running.plane.api.merge(f"{path}/tenant/status", status)
        yield


@contextmanager
def policy(
    running: World, expression: str = "false", reason: str = "Forbidden", operation: str = "CREATE"
) -> Iterator[None]:
    """A policy for Jobs."""
    rules = [{**JOBS[0], "operations": [operation]}]
    name, selector = running.namespace, {"matchLabels": {"kubernetes.io/metadata.name": running.namespace}}
    validation = {"expression": expression, "message": "every Job needs the label cost-center", "reason": reason}
    constraints = {"resourceRules": rules, "namespaceSelector": selector}
    body = {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, "validations": [validation]}}
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    with (
        having(running, f"{ADMISSION}/validatingadmissionpolicies", body),
        having(running, f"{ADMISSION}/validatingadmissionpolicybindings", binding),
    ):
        yield


@contextmanager
def webhook(running: World, port: int = 1, operation: str = "CREATE") -> Iterator[None]:
    """An admission webhook that does not respond; with a port that is listened to, it hangs."""
    hook = {
        "name": "policy.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
        "timeoutSeconds": 30,
        "rules": [{**JOBS[0], "operations": [operation]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": running.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
    }
    body = {"metadata": {"name": running.namespace}, "webhooks": [hook]}
    with having(running, f"{ADMISSION}/validatingwebhookconfigurations", body):
        yield


@contextmanager
def hanging(running: World, operation: str = "CREATE") -> Iterator[None]:
    """An admission webhook that takes longer than the operator waits for an answer."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        with webhook(running, silent.getsockname()[1], operation):
            yield


def condition(running: World, kind: str) -> Condition | None:
    return next((one for one in running.separation().status.conditions if one.type == kind), None)


def is_refused(running: World, kind: str, words: str) -> bool:
    found = condition(running, kind)
    return found is not None and found.reason == "JobRefused" and words in found.message


def warnings(running: World) -> list[tuple[str, str]]:
    listed = running.plane.api.get(running.path("events"))["items"]
    return [(event["reason"], event["message"]) for event in listed if event["type"] == "Warning"]


def is_admitted(running: World) -> bool:
    """Whether a Job would be created now: admission learns of a change only after some time."""
    body = {"metadata": {"name": "probe"}, "spec": {"template": {"spec": POD}}}
    return is_allowed(lambda: running.plane.api.post(running.path("jobs") + "?dryRun=All", body))


def is_allowed(call: Callable[[], object]) -> bool:
    try:
        call()
    except ApiRefusedError:
        return False
    return True


POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}


@pytest.mark.parametrize(
    ("refusing", "words"),
    [
        (quota, "exceeded quota: tenant"),
        (policy, "cost-center"),
        (lambda running: policy(running, reason="Invalid"), "cost-center"),
        (webhook, "failed calling webhook"),
        (hanging, "an admission webhook for Jobs may hang"),
    ],
    ids=["quota", "policy-403", "policy-422", "webhook-500", "webhook-hangs"],
)
def test_a_refused_job_is_reported_and_created_when_it_is_allowed(
    running: World, refusing: Callable[[World], Any], words: str
) -> None:
    with running.operating(), ExitStack() as stack:
        running.create("before")
        running.wait_job(FETCH, name="before")
        stack.enter_context(refusing(running))
        eventually(lambda: not is_admitted(running))
        running.create()
        eventually(lambda: is_refused(running, "Fetched", words))
        assert running.phase() == "Pending"
        eventually(lambda: warnings(running))
        [(reason, message)] = warnings(running)
        assert reason == "JobRefused"
        assert words in message
        stack.close()
        job = running.wait_job(FETCH)
        running.succeed(job, running.run(job))
        running.wait_job(SEPARATE)
        assert [reason for reason, _ in warnings(running)] == ["JobRefused"]


def test_a_refused_separate_job_ends_at_its_deadline(running: World) -> None:
    with running.operating():
        running.create(deadlines={"queue": 10})
        job = running.wait_job(FETCH)
        pod = running.run(job)
        with policy(running):
            eventually(lambda: not is_admitted(running))
            running.succeed(job, pod)
            eventually(lambda: is_refused(running, "Admitted", "cost-center"))
            assert running.phase() == "Queued"
            eventually(lambda: running.phase() == "Failed")
        failure = running.separation().status.failure
        assert failure is not None
        assert failure.code == "QUEUE_DEADLINE"
        assert "cost-center" in failure.message


def test_a_profile_satisfies_a_policy_and_its_options_are_accepted(running: World, tmp_path: Path) -> None:
    profile = {
        "labels": {"cost-center": "music"},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["mirror.internal"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "2"}]},
        "schedulerName": "volcano",
        "imagePullSecrets": ["team"],
        "extraVolumes": [
            {"name": "ca", "configMap": {"name": "corporate-ca"}},
            {"name": "key", "secret": {"secretName": "license"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "reference"}},
            {"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io"}},
        ],
        "extraVolumeMounts": [{"name": name, "mountPath": f"/extra/{name}"} for name in ("ca", "key", "data", "vault")],
    }
    (tmp_path / "profiles.yaml").write_text(json.dumps({"profiles": {"default": profile}}))
    with running.operating(PROFILES_FILE=str(tmp_path / "profiles.yaml")), policy(running, LABELLED):
        eventually(lambda: not is_admitted(running))
        running.create()
        running.separate()
        stored = running.jobs()[running.separation().status.job or ""]["spec"]["template"]["spec"]
        assert (stored["schedulerName"], stored["dnsPolicy"]) == ("volcano", "None")
        assert warnings(running) == []


def test_a_profile_that_makes_no_valid_job_is_reported_and_others_go_on(running: World, tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: {default: {}, broken: {fetch: {nodeSelector: {'a b': c}}}}")
    with running.operating(PROFILES_FILE=str(tmp_path / "profiles.yaml"), MAX_ACTIVE_FETCH="1"):
        running.create(profile="broken")
        eventually(lambda: is_refused(running, "Fetched", "nodeSelector"))
        running.create("other")
        running.separate("other")


@pytest.mark.parametrize(
    ("refusing", "words"),
    [(policy, "cost-center"), (hanging, "an admission webhook for Jobs may hang")],
    ids=["policy", "webhook-hangs"],
)
def test_a_job_that_must_not_be_deleted_holds_up_nothing_else(
    running: World, refusing: Callable[..., Any], words: str
) -> None:
    """The refusal is reported, and the webhook of the failed run is sent all the same."""
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        hook = {"WEBHOOK_URL": receiver.url("/own"), "WEBHOOK_ALLOWED_ORIGINS": receiver.url("")}
        stack.enter_context(running.operating(**hook))
        stack.enter_context(refusing(running, operation="DELETE"))
        running.create(retryPolicy={"limit": 0}, deadlines={"start": 10})
        job = running.path("jobs", running.wait_job(FETCH)["metadata"]["name"])
        eventually(lambda: not is_allowed(lambda: running.plane.api.delete(f"{job}?dryRun=All")))
        eventually(lambda: running.phase() == "Failed", 60)
        eventually(lambda: receiver.received)
        eventually(lambda: "DeletionRefused" in dict(warnings(running)))
        assert words in dict(warnings(running))["DeletionRefused"]
        assert "deletionTimestamp" not in running.plane.api.get(job)["metadata"]
    with running.operating():
        eventually(lambda: "deletionTimestamp" in running.plane.api.get(job)["metadata"])
