"""What can be turned on, and what deployers can add."""

import re
from base64 import b64decode
from collections.abc import Hashable, Iterable
from functools import reduce
from pathlib import Path

import pytest
import yaml

from charts.helm import CHART, Helm, merge
from stemyard_contract.runtime import SECRET_FILES, SECRET_VARIABLES
from tests.chart.rendered import (
    BUCKET,
    CASES,
    NAMESPACE,
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

every_case = pytest.mark.parametrize("name", CASES)


def test_the_api_is_reached_through_an_ingress_or_a_gateway() -> None:
    objects = case("everything")
    ingress = find(objects, "Ingress", f"{RELEASE}-api")["spec"]
    service = find(objects, "Service", f"{RELEASE}-api")
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"secretName": "songs-tls", "hosts": ["songs.example.com", "songs.example.org"]}]
    assert [rule["host"] for rule in ingress["rules"]] == ["songs.example.com", "songs.example.org"]
    backend = ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": service["metadata"]["name"], "port": {"number": service["spec"]["ports"][0]["port"]}}
    route = find(objects, "HTTPRoute", f"{RELEASE}-api")["spec"]
    assert route["parentRefs"] == [{"name": "gateway", "namespace": "infra"}]
    assert route["rules"][0]["backendRefs"] == [{"name": f"{RELEASE}-api", "port": 5500}]
    assert find(objects, "HTTPRoute", f"{RELEASE}-store")["spec"]["rules"][0]["backendRefs"][0]["port"] == 7070


def test_the_api_scales_by_load_and_shares_its_limits_among_the_fewest() -> None:
    objects = case("everything")
    scaler = find(objects, "HorizontalPodAutoscaler", f"{RELEASE}-api")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 10)
    assert "replicas" not in find(objects, "Deployment", scaler["scaleTargetRef"]["name"])["spec"]
    assert environment(objects, "api")["API_REPLICAS"] == "3"


@every_case
def test_disruption_budgets_are_of_pods_that_are_there_and_never_block_a_drain(name: str) -> None:
    objects = case(name)
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert {one["metadata"]["name"] for one in budgets} == {f"{RELEASE}-api", f"{RELEASE}-operator"}
    for budget in budgets:
        deployment = find(objects, "Deployment", budget["metadata"]["name"])
        assert budget["spec"]["selector"] == deployment["spec"]["selector"]
        assert budget["spec"]["maxUnavailable"] in {1, "50%"}
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("name", ["api", "operator"])
def test_replicas_are_spread_over_zones_and_nodes(name: str) -> None:
    pod = find(case("default"), "Deployment", f"{RELEASE}-{name}")["spec"]
    spread = pod["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(one["labelSelector"] == pod["selector"] for one in spread)


def test_what_deployers_add_is_there() -> None:
    objects = case("everything")
    pod = find(objects, "Deployment", f"{RELEASE}-api")["spec"]["template"]
    assert pod["metadata"]["labels"]["tier"] == "front"
    assert pod["metadata"]["annotations"]["note"] == "api"
    assert {"name": "scratch", "emptyDir": {}} in pod["spec"]["volumes"]
    assert {"name": "scratch", "mountPath": "/scratch"} in container(objects, "api")["volumeMounts"]
    assert pod["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "rack"
    account = find(objects, "ServiceAccount", f"{RELEASE}-api")
    assert account["metadata"]["annotations"] == {"iam.example.com/role": "stemyard"}
    assert find(objects, "ConfigMap", "extra")["metadata"]["labels"] == {"of": RELEASE}
    assert find(objects, "ConfigMap", f"{RELEASE}-text")


def test_everything_comes_from_the_private_registry() -> None:
    objects = case("air-gapped")
    images = {one["image"] for one in containers(objects)}
    images |= {value for name, value in environment(objects, "operator").items() if name.startswith("SEPARATOR_IMAGE")}
    assert images
    assert all(image.startswith("mirror.example.com/stemyard/") for image in images)
    for deployment in of_kind(objects, "Deployment"):
        assert deployment["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "mirror"}]


def test_the_certificate_authority_of_redis_reaches_both() -> None:
    objects = case("external")
    for name in ("api", "operator"):
        [mount] = [one for one in container(objects, name)["volumeMounts"] if one["name"] == "redis-ca"]
        assert environment(objects, name)["REDIS_CA_FILE"] == f"{mount['mountPath']}/ca.crt"


def test_both_parts_get_the_master_secrets_of_registered_webhooks() -> None:
    master, previous = "m" * 32, "p" * 32
    objects = render(merge(CASES["default"], {"webhooks": {"masterSecret": master, "previousMasterSecret": previous}}))
    for name in ("api", "operator"):
        found = environment(objects, name)
        assert (found["WEBHOOK_MASTER_SECRET"], found["WEBHOOK_MASTER_SECRET_PREVIOUS"]) == (master, previous)
    objects = render(merge(CASES["default"], {"webhooks": {"maxPerKey": 0}}))
    assert environment(objects, "api")["WEBHOOKS_PER_KEY"] == "0"


def test_without_a_cluster_no_master_secret_is_made_up() -> None:
    """Each rendering would have another, and every registered webhook another secret."""
    for name in ("api", "operator"):
        assert environment(case("default"), name)["WEBHOOK_MASTER_SECRET"] == ""


def test_every_variable_from_a_secret_is_listed_for_its_part() -> None:
    objects = case("external")
    for name in ("api", "operator"):
        variables = container(objects, name)["env"]
        taken = {
            f"{one['name']}={one['valueFrom']['secretKeyRef']['name']}"
            for one in variables
            # without these both start: one is derived from the key of the bucket, or no webhook can be registered
            if "secretKeyRef" in one.get("valueFrom", {})
            and not one["name"].startswith(("SHARE_SECRET", "WEBHOOK_MASTER_SECRET"))
        }
        assert taken == set(environment(objects, name)[SECRET_VARIABLES].split(","))
        assert all(
            one["valueFrom"]["secretKeyRef"]["optional"]
            for one in variables
            if "secretKeyRef" in one.get("valueFrom", {})
        )


def test_every_file_from_a_secret_is_listed_for_its_part() -> None:
    objects = render(merge(CASES["external"], {"api": {"keys": {"existingSecret": "team-keys"}}}))
    authority = "/etc/stemyard-redis/ca.crt=redis-ca"
    assert environment(objects, "operator")[SECRET_FILES] == authority
    assert environment(objects, "api")[SECRET_FILES] == f"{authority},/etc/stemyard/keys/keys.yaml=team-keys"
    assert SECRET_FILES not in environment(case("default"), "api")
    for name in ("api", "operator"):
        pod = find(objects, "Deployment", f"{RELEASE}-{name}")["spec"]["template"]["spec"]
        secrets = {one["name"]: one["secret"] for one in pod["volumes"] if "secret" in one}
        assert all(one["optional"] for one in secrets.values())
        mounts = {one["name"]: one["mountPath"] for one in container(objects, name)["volumeMounts"]}
        files = [
            f"{mounts[volume]}/{item['path']}={secret['secretName']}"
            for volume, secret in secrets.items()
            for item in secret.get("items", [])
        ]
        assert sorted(files) == sorted(environment(objects, name)[SECRET_FILES].split(","))


def test_the_model_cache_is_filled_in_every_watched_namespace_and_mounted_by_separators() -> None:
    values = merge(
        CASES["two namespaces"], {"models": {"cache": {"enabled": True, "host": "https://models.example.com"}}}
    )
    objects = render(values)
    jobs = of_kind(objects, "Job")
    assert [one["metadata"]["namespace"] for one in jobs] == ["team-a", "team-b"]
    pod = jobs[0]["spec"]["template"]["spec"]
    [prefetch] = pod["initContainers"]
    assert prefetch["command"] == ["stemyard-models", "prefetch", "spleeter-2stems", "/cache", "--from", "/models"]
    assert prefetch["env"] == [{"name": "STEMYARD_MODEL_HOST", "value": "https://models.example.com"}]
    assert pod["containers"][0]["command"] == ["stemyard-models", "verify", "/cache"]
    claims = {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")} - {f"{RELEASE}-valkey"}
    assert claims == {environment(objects, "operator")["MODEL_CLAIM"]}
    assert claims == {one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if one["name"] == "cache"}


def test_other_models_are_another_job() -> None:
    def job(models: Object) -> str:
        return str(
            of_kind(render(merge(BUCKET, {"models": {"cache": {"enabled": True}, **models}})), "Job")[0]["metadata"][
                "name"
            ]
        )

    def template(values: Object) -> Object:
        [found] = of_kind(render(merge(merge(BUCKET, {"models": {"cache": {"enabled": True}}}), values)), "Job")
        return dict(found["spec"]["template"])

    metadata = template({})["metadata"]
    assert metadata["labels"]["sidecar.istio.io/inject"] == "false", "a sidecar would never let the Job end"
    assert job({}) != str(
        of_kind(
            render(merge(BUCKET, {"models": {"cache": {"enabled": True}}, "separator": {"podLabels": {"a": "b"}}})),
            "Job",
        )[0]["metadata"]["name"]
    )
    # A Job's template cannot be changed: nothing may be in it that its name does not tell of.
    assert template({"commonLabels": {"team": "audio"}}) == template({})
    more = {"enabled": ["spleeter-2stems", "htdemucs"]}
    assert job({}) == job({}) != job(more)


def test_the_cuda_image_is_kept_on_gpu_nodes() -> None:
    objects = case("everything")
    [daemons] = of_kind(objects, "DaemonSet")
    pod = daemons["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == environment(objects, "operator")["SEPARATOR_IMAGE_CUDA"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"], "it would take the GPU"


def test_helm_test_asks_the_api_with_the_installations_key() -> None:
    objects = case("demo")
    [pod] = of_kind(objects, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    [one] = pod["spec"]["containers"]
    variables = {variable["name"]: variable for variable in one["env"]}
    assert variables["STEMYARD_URL"]["value"] == f"http://{RELEASE}-api.{NAMESPACE}.svc.cluster.local:5500"
    assert variables["STEMYARD_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == f"{RELEASE}-api"
    files = find(objects, "ConfigMap", f"{RELEASE}-test")
    assert b64decode(files["binaryData"]["clip.mp3"]) == (CHART / "files/test/clip.mp3").read_bytes()
    assert files["data"]["separate.py"].strip() == (CHART / "files/test/separate.py").read_text().strip()
    assert one["image"] == container(objects, "api")["image"]


def test_pods_may_be_moved_when_nodes_are_saved() -> None:
    for deployment in of_kind(case("everything"), "Deployment"):
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"


def test_a_deployer_may_keep_a_pod_on_its_node_and_give_it_labels_that_all_have() -> None:
    kept = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    values = {"commonLabels": {"team": "audio"}, "api": {"podAnnotations": kept, "podLabels": {"team": "front"}}}
    text = Helm().template(release(merge(BUCKET, values)))
    pod = find(render(merge(BUCKET, values)), "Deployment", f"{RELEASE}-api")["spec"]["template"]["metadata"]
    assert kept.items() <= pod["annotations"].items()
    assert pod["labels"]["team"] == "front"
    for document in text.split("\n---\n"):
        yaml.load(document, OnlyOnce)


class OnlyOnce(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, as the API server does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(names)) == len(names), names
        return super().construct_mapping(node, deep)


@every_case
def test_no_mapping_has_a_key_twice(name: str) -> None:
    for document in Helm().template(release(CASES[name])).split("\n---\n"):
        yaml.load(document, OnlyOnce)


@every_case
def test_every_image_of_an_air_gapped_cluster_comes_from_its_registry(name: str) -> None:
    values = merge(CASES[name], {"images": {"registry": "mirror.example.com/stemyard"}, "prePull": {"enabled": True}})
    images = [
        one["image"]
        for pod in pods(render(values))
        for one in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    ]
    assert images
    assert [image for image in images if not image.startswith("mirror.example.com/stemyard/")] == []


def listed_variables() -> dict[str, dict[str, str]]:
    """What `_variables.tpl` says: by part, each variable and the value that sets it."""
    text = (CHART / "templates/_variables.tpl").read_text()
    [found] = re.findall(r'(?s)define "stemyard.variables" -}}\n(.*?)\n{{- end', text)
    return dict(yaml.safe_load(found))


def test_a_variable_has_the_value_that_is_listed_for_it() -> None:
    """A variable set by another value starts a part as well, with a setting that nobody chose."""
    known = {name: value for variables in listed_variables().values() for name, value in variables.items()}
    simple = re.compile(r"(?m)- name: ([A-Z0-9_]+)\n +value: {{-? \$?\.Values\.([\w.]+)(?: \|[^}]*)? -?}}$")
    found = [
        pair for file in (CHART / "templates").rglob("*") if file.is_file() for pair in simple.findall(file.read_text())
    ]
    assert len(found) > 20
    assert [(name, value) for name, value in found if known.get(name) != value] == []


def written_in(files: Iterable[Path]) -> set[str]:
    """The names of variables that templates set."""
    return {name for file in files for name in re.findall(r"name: ([A-Z][A-Z0-9_]*[A-Z0-9])\b", file.read_text())}


def test_every_variable_of_the_chart_is_kept_from_extra_env() -> None:
    known = listed_variables()
    anywhere = written_in((CHART / "templates").rglob("*.tpl"))
    for part in ("api", "operator"):
        files = [*(CHART / "templates" / part).glob("*"), CHART / "templates/_settings.tpl"]
        written = written_in(files)
        rendered = {name for case_name in CASES for name in environment(case(case_name), part)}
        listed = known[part].keys() | known["shared"].keys()
        assert (written | rendered) - {"EXTRA"} <= listed
        unset = known[part].keys() - written - rendered - anywhere
        assert unset == ({"WORKER_CONCURRENCY"} if part == "operator" else set()), "only MAX_ACTIVE's older name"
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for value in {value for part in known.values() for value in part.values() if value}:
        reduce(lambda node, name: node[name], value.split("."), values)
