"""Every object of every installation: well-formed, labelled, restricted, at the version it was tested with."""

import json

import pytest
import yaml

from charts import crd
from charts.helm import CHART, Helm
from localcluster import tools
from stemyard_contract.separationjob import LABEL_STAGE
from tests.chart import pod_security
from tests.chart.rendered import (
    CASES,
    RELEASE,
    Object,
    case,
    container,
    containers,
    environment,
    find,
    of_kind,
    pods,
    release,
    render,
)

LABELS = {
    "app.kubernetes.io/name": "stemyard",
    "app.kubernetes.io/instance": RELEASE,
    "app.kubernetes.io/part-of": "stemyard",
    "app.kubernetes.io/managed-by": "Helm",
}
SECRETS = {
    "API_SECRET_KEY",
    "CLOUDFLARE_API_TOKEN",
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "REDIS_URL",
    "ROOT_ACCESS_KEY",
    "ROOT_SECRET_KEY",
    "SHARE_SECRET",
    "SHARE_SECRET_PREVIOUS",
    "WEBHOOK_MASTER_SECRET",
    "WEBHOOK_MASTER_SECRET_PREVIOUS",
}

EXTRA = {"extra", f"{RELEASE}-text"}
"""Manifests of the deployer's own."""

every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_a_strict_lint_finds_nothing(name: str) -> None:
    assert Helm().lint(release(CASES[name])) == []


@every_case
def test_every_object_is_there_once_and_labelled(name: str) -> None:
    objects = case(name)
    identities = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(set(identities)) == len(identities)
    for one in objects:
        assert {"apiVersion", "kind", "metadata"} <= one.keys()
        if one["metadata"]["name"] in EXTRA:
            continue
        labels = one["metadata"]["labels"]
        assert LABELS.items() <= labels.items(), one["metadata"]["name"]
        assert {"app.kubernetes.io/component", "app.kubernetes.io/version", "helm.sh/chart"} <= labels.keys()


@every_case
def test_pods_pass_the_level_restricted(name: str) -> None:
    for pod in pods(case(name)):
        assert pod_security.faults(pod["spec"]) == []


def test_the_check_of_the_level_finds_what_it_must() -> None:
    careless = {"hostNetwork": True, "volumes": [{"name": "v", "hostPath": {}}], "containers": [{"name": "c"}]}
    assert len(pod_security.faults(careless)) == 6


@every_case
def test_containers_are_bounded_probed_and_read_only(name: str) -> None:
    for one in containers(case(name)):
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} <= one["resources"]["requests"].keys()
        assert "memory" in one["resources"]["limits"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= one.keys()
        assert one["terminationMessagePolicy"] == "FallbackToLogsOnError"


@every_case
def test_selectors_find_their_pods_and_services_their_ports(name: str) -> None:
    objects = case(name)
    servers = [one["spec"]["template"] for one in of_kind(objects, "Deployment")]
    for deployment in of_kind(objects, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for service in of_kind(objects, "Service"):
        [pod] = [pod for pod in servers if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        ports = {port["name"] for one in pod["spec"]["containers"] for port in one["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_each_watched_namespace_gets_what_separators_need() -> None:
    objects = case("two namespaces")
    for kind, name in (
        ("ServiceAccount", f"{RELEASE}-separator"),
        ("NetworkPolicy", f"{RELEASE}-separator"),
        ("NetworkPolicy", f"{RELEASE}-fetch"),
    ):
        places = [one["metadata"]["namespace"] for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
        assert places == ["team-a", "team-b"]
    assert environment(objects, "operator")["WATCH_NAMESPACES"] == "team-a,team-b"
    assert environment(objects, "api")["STEMYARD_NAMESPACE"] == "team-a"


def test_policies_of_separators_select_by_the_label_that_the_operator_sets() -> None:
    policy = find(case("default"), "NetworkPolicy", f"{RELEASE}-separator")
    assert policy["spec"]["podSelector"]["matchExpressions"] == [{"key": LABEL_STAGE, "operator": "Exists"}]


@pytest.mark.parametrize("keep", [True, False])
def test_the_definitions_are_the_generated_ones(keep: bool) -> None:
    objects = render({**CASES["default"], "crds": {"keep": keep}})
    for definition in (crd.custom_resource_definition(), crd.key_webhooks_definition()):
        found = find(objects, "CustomResourceDefinition", definition["metadata"]["name"])
        annotations = found["metadata"].get("annotations", {})
        assert annotations == ({"helm.sh/resource-policy": "keep"} if keep else {})
        assert {**found, "metadata": {"name": found["metadata"]["name"]}} == definition


def test_the_definition_can_be_left_out() -> None:
    assert of_kind(render({**CASES["default"], "crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_images_come_from_the_given_registry_or_by_digest() -> None:
    images = {one["name"]: one["image"] for one in containers(case("external"))}
    assert images["api"] == "registry.example.com:5000/mirror/stemyard/api@sha256:" + "0" * 64
    assert images["operator"] == "registry.example.com:5000/mirror/stemyard/operator:0.2.0"
    separators = environment(case("external"), "operator")
    assert separators["SEPARATOR_IMAGE_CPU"] == "registry.example.com:5000/mirror/stemyard/separator:0.2.0-cpu"
    assert separators["IMAGE_PULL_SECRETS"] == "registry"


def test_the_demo_runs_the_versions_that_the_local_cluster_makes() -> None:
    images = {one["name"]: one["image"] for one in containers(case("demo"))}
    assert images["valkey"] == f"localhost/stemyard/valkey:{tools.VALKEY}"
    assert images["store"] == f"localhost/stemyard/versitygw:{tools.VERSITYGW}"


def test_the_public_images_are_of_the_tested_lines() -> None:
    images = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    assert images["valkey"]["tag"].rpartition(".")[0] == tools.VALKEY.rpartition(".")[0]
    assert images["store"]["tag"] == tools.VERSITYGW


def test_external_services_leave_nothing_bundled() -> None:
    objects = case("external")
    assert of_kind(objects, "Secret") == []
    assert {one["name"] for one in containers(objects)} == {"api", "operator"}
    assert of_kind(objects, "PersistentVolumeClaim") == []


def test_secrets_are_referred_to_and_never_written_out() -> None:
    for name in CASES:
        for one in containers(case(name)):
            for variable in one.get("env", []):
                assert ("secretKeyRef" in variable.get("valueFrom", {})) == (variable["name"] in SECRETS), name


def test_pods_roll_when_their_settings_change() -> None:
    def checksum(values: Object) -> str:
        pod = find(render(values), "Deployment", f"{RELEASE}-operator")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/config"])

    given = {**CASES["external"], "install": {"id": "fixed"}}
    assert checksum(given) == checksum(given)
    assert checksum(given) != checksum({**given, "profiles": {"default": {"separate": {"nodeSelector": {"a": "b"}}}}})


def test_volumes_of_fetch_reach_the_operator() -> None:
    objects = case("kept")
    listed = json.loads(find(objects, "ConfigMap", f"{RELEASE}-operator")["data"]["fetch-volumes.json"])
    assert listed == [{"name": "plugins", "configMap": "plugins", "mountPath": "/plugins"}]
    [mount] = [one for one in container(objects, "operator")["volumeMounts"] if one["name"] == "config"]
    assert (
        environment(objects, "operator")["SEPARATOR_FETCH_VOLUMES_FILE"] == f"{mount['mountPath']}/fetch-volumes.json"
    )
