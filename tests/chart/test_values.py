"""Values: described, typed, and refused with a sentence when they are misspelt or contradict each other."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charts import generate
from charts.described_values import AnnotationError, UndescribedValueError, Value, read_values
from charts.generate import CHART, generated, generated_files, with_table
from charts.helm import Helm, HelmError, Release, ValuesFileError, merge
from charts.helm import read_values as read_values_files
from charts.values_schema import UnknownTypeError, values_schema
from tests.chart.rendered import BUCKET, NAMESPACE, RELEASE, Object, container, environment, render, schema, with_fixed

GONE: Object = {"objectStore": {"cloudflareAccountId": None, "existingSecret": None}}


def nodes(node: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from nodes(child, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if isinstance(node.get(below), dict):
            yield from nodes(node[below], f"{path}.*")


def nested(name: str, value: object) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return {first: nested(rest, value) if rest else value}


def test_generated_files_are_current() -> None:
    stale = [path.name for path, text in generated_files().items() if path.read_text() != text]
    assert stale == [], "run `make generate`"


def test_the_check_of_generated_files_finds_a_stale_one(tmp_path: Path) -> None:
    for name in ("values.yaml", "Chart.yaml", "README.md"):
        (tmp_path / name).write_text((CHART / name).read_text())
    with (tmp_path / "values.yaml").open("a") as values:
        values.write("# A new value.\nnewValue: 1\n")
    texts = {path.name: text for path, text in generated(tmp_path).items()}
    assert '"newValue"' in texts["values.schema.json"]
    assert "| `newValue` | `1` | A new value. |" in texts["README.md"]


def test_a_stale_file_is_named_with_the_command_that_rewrites_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = CHART / "files/crds/separationjobs.yaml"
    stale = {**generated_files(), path: path.read_text() + "# changed\n"}
    monkeypatch.setattr(generate, "generated_files", lambda: stale)
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert generate.main() == 1
    assert capsys.readouterr().err == "charts/stemyard/files/crds/separationjobs.yaml is stale: run `make generate`\n"


def test_make_check_can_ask_whether_generated_files_are_current() -> None:
    done = subprocess.run([sys.executable, "-m", "charts.generate", "--check"], cwd=CHART.parents[1], timeout=60)
    assert done.returncode == 0


def test_every_value_of_the_schema_has_a_description() -> None:
    undescribed = [path for path, node in nodes(schema()) if not node.get("description")]
    assert undescribed == []


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(UndescribedValueError, match=r"a\.c: write a comment"):
        read_values("# Top.\na:\n  # Known.\n  b: 1\n  c: 2\n")


def test_comments_become_descriptions() -> None:
    [top] = read_values("# Top.\na:\n  # One line,\n  # and another.\n  b: [x]\n")
    assert list(top.leaves()) == [Value(("a", "b"), ["x"], "One line, and another.")]


def test_a_schema_comment_adds_to_what_the_default_says() -> None:
    [top] = read_values("# Top.\n# @schema {$ref: port, minimum: 1024}\na: 8080\n")
    assert (top.description, top.schema) == ("Top.", {"$ref": "port", "minimum": 1024})
    assert values_schema([top], "Values")["properties"]["a"] == {
        "description": "Top.",
        "type": "integer",
        "minimum": 1024,
        "maximum": 65535,
    }


def test_a_mapping_with_a_schema_comment_is_one_value() -> None:
    [top] = read_values("# Top.\n# @schema {$ref: resources}\na:\n  limits: {memory: 1Gi}\n")
    assert [leaf.name for leaf in top.leaves()] == ["a"]


def test_a_schema_comment_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(AnnotationError, match="a: '@schema port' is not a YAML mapping"):
        read_values("# Top.\n# @schema port\na: 1\n")


def test_a_schema_comment_without_a_description_is_refused() -> None:
    with pytest.raises(UndescribedValueError, match="a: write a comment"):
        read_values("# @schema {minimum: 1}\na: 1\n")


def test_an_unknown_type_in_a_schema_comment_is_refused() -> None:
    with pytest.raises(UnknownTypeError, match="a: there is no type 'prot'"):
        values_schema(read_values("# Top.\n# @schema {items: {$ref: prot}}\na: []\n"), "Values")


def test_a_readme_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"README\.md lacks"):
        with_table("no marks", [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxActve", 2),
        ("api.replica", 2),
        ("objectStore.endPoint", "https://s3.example.com"),
        ("profiles.default.separate.gpus", {"count": 1}),
        ("profiles.default.separate.resources.limit", {"memory": "1Gi"}),
        ("profiles.default.queueNames", "team"),
        ("profiles.default.separate.resourceClaims", [{"name": "gpu"}]),
        ("profiles.default.dnsPolicy", "Default"),
        ("profiles.default.hostAliases", [{"ip": "10.0.0.7"}]),
        ("profiles.default.extraVolumeMounts", [{"name": "x", "mountPath": "/x", "readOnly": False}]),
        ("profiles.default.hostNetwork", True),
        ("profiles.default.maxActive", 0),
        ("profiles.default.fetch.worker", {}),
        ("profiles.default.separate.worker", {"songs": 0}),
        ("profiles.default.separate.worker", {"idle": 20}),
        ("unscheduled.timeoutSeconds", -1),
        ("maxActive", 0),
        ("maxActive", "two"),
        ("images.pullPolicy", "Sometimes"),
        ("api.service.type", "Nodeport"),
        ("api.service.nodePort", 70000),
        ("api.secretKey", "short"),
        ("install.id", "Not_A_Name"),
        ("objectStore.endpoint", "s3.example.com"),
        ("objectStore.bucket", "UPPER"),
        ("limits.maxFileSizeMb", 6000),
        ("watchNamespaces", ["Team A"]),
        ("redis.url", "http://redis"),
        ("clusterCIDRs", ["10.0.0.0"]),
        ("valkey.password", "with spaces and $igns"),
        ("networkPolicy.kubernetesApiPorts", []),
        ("webhooks.url", "ftp://example.com"),
        ("webhooks.secret", "short"),
        ("webhooks.events", ["all"]),
        ("webhooks.endpoints", [{"name": "crm"}]),
        ("webhooks.endpoints", [{"name": "crm", "url": "https://example.com", "secret": "short"}]),
        ("webhooks.keySecrets", {"team-a": {"sekret": "0123456789abcdef"}}),
        ("webhooks.ports", [0]),
        ("webhooks.allowedOrigins", ["https://example.com/path"]),
        ("webhooks.concurrency", 0),
        ("fetch.extraVolumes", [{"name": "x", "mountPath": "/x"}]),
        ("priorityClasses", {"Urgent": {"value": 1}}),
        ("models.default", "no-such-model"),
        ("models.enabled", ["spleeter-2stems", "no-such-model"]),
        ("priorityClasses", {"system-urgent": {"value": 1}}),
        ("priorityClasses", {"urgent": {}}),
        ("priorityClasses", {"urgent": {"value": 2_000_000_000}}),
        ("monitoring.serviceMonitor.interval", "often"),
        ("api.corsAllowedOrigins", ["app.example.com"]),
        ("ttl.failedSeconds", -1),
        ("profiles", {"Bad Name": {}}),
        ("clusterCIDRs", ["10.0.0.0/33"]),
        ("clusterCIDRs", ["300.0.0.0/8"]),
        ("clusterCIDRs", ["fd00::/129"]),
        ("images.api.repository", "ghcr.io/stemyard/api:1.0.0"),
        ("objectStore.publicDomain", "two words"),
        ("api.ingress.hosts", [""]),
        ("api.ingress.hosts", ["songs.example.com", "songs.example.com"]),
        ("api.httpRoute.hostnames", ["https://songs.example.com"]),
        ("sweep.seconds", -1),
        ("sweep.force", "tomorrow"),
        ("kueue.apiVersion", "latest"),
        ("fetch.spacingSeconds", -1),
        ("sweep.force", "2026-13-01"),
        ("commonLabels", {"two words": "x"}),
        ("commonLabels", {"team": "two words"}),
        ("api.podLabels", {"team": "x" * 64}),
        ("api.podAnnotations", {"Not/a/name": "x"}),
        ("api.ingress.annotations", {"two words": "x"}),
        ("operator.nodeSelector", {"zone": "a b"}),
        ("profiles.default.labels", {"team": "a/b"}),
        ("profiles.default.fetch.nodeSelector", {"-zone": "a"}),
        ("api.podDisruptionBudget.maxUnavailable", "120%"),
        ("valkey", None),
        ("api.service", None),
        ("profiles", None),
    ],
)
def test_the_schema_refuses(name: str, value: object) -> None:
    with pytest.raises(HelmError) as refused:
        render(merge(BUCKET, nested(name, value)))
    parent, _, last = name.rpartition(".")
    named = [last, parent.replace(".", "/") or last, *(value if isinstance(value, dict) else ())]
    assert any(part in str(refused.value) for part in named)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (GONE, "nowhere to keep stems: set objectStore.endpoint"),
        (
            {"objectStore": {"existingSecret": ""}},
            "no credentials for the object store: set objectStore.existingSecret",
        ),
        ({"store": {"enabled": True}}, "objectStore.endpoint or objectStore.cloudflareAccountId names another"),
        ({"objectStore": {"accessKeyId": "a", "secretAccessKey": "b"}}, "objectStore.existingSecret and"),
        ({"objectStore": {"existingSecret": "", "accessKeyId": "a"}}, "are required together"),
        ({"redis": {"url": "redis://r"}}, "set valkey.enabled=false"),
        ({"valkey": {"enabled": False}}, "no Redis: set redis.url or redis.existingSecret"),
        (
            {"valkey": {"enabled": False}, "redis": {"url": "redis://r", "existingSecret": "r"}},
            "redis.url and redis.existingSecret are both set",
        ),
        ({"watchNamespaces": ["team-a"]}, '"songs", which is not watched; add it to watchNamespaces'),
        ({"api": {"secretKey": "0123456789abcdef", "existingSecret": "k"}}, "api.secretKey and api.existingSecret"),
        ({"api": {"cloudflareKV": {"namespaceId": "n"}}}, "api.cloudflareKV.existingSecret is empty"),
        ({"webhooks": {"previousSecret": "0123456789abcdef"}}, "set webhooks.secret"),
        ({"webhooks": {"secret": "whsec_" + "A" * 15}}, "webhooks.secret begins with whsec_"),
        ({"webhooks": {"secret": "whsec_" + "A" * 13 + "B=="}}, "webhooks.secret begins with whsec_"),
        (
            {"webhooks": {"keySecrets": {"a": {"secret": "0123456789abcdef", "previousSecret": "whsec_" + "%" * 16}}}},
            "webhooks.keySecrets.a.previousSecret begins with whsec_",
        ),
        (
            {"webhooks": {"endpoints": [{"name": "a", "url": "https://a.example", "secret": "whsec_" + "A" * 11}]}},
            "webhooks.endpoints[0].secret begins with whsec_",
        ),
        (
            {"webhooks": {"existingSecret": "hooks", "keySecrets": {"a": {"secret": "0123456789abcdef"}}}},
            "clear webhooks.endpoints",
        ),
        (
            {"webhooks": {"secret": "0123456789abcdef", "existingSecret": "hooks"}},
            "webhooks.existingSecret and webhooks.secret",
        ),
        ({"profiles": {"default": None}}, "profiles.default is missing"),
        ({"api": {"insecureDev": True, "existingSecret": "k"}}, "set api.insecureDev=false"),
        (
            {"objectStore": {"endpoint": "https://s3.example.com", "cloudflareAccountId": ""}}
            | {"api": {"cloudflareKV": {"namespaceId": "n", "existingSecret": "c"}}},
            "set objectStore.cloudflareAccountId",
        ),
        ({"api": {"autoscaling": {"enabled": True, "minReplicas": 11}}}, "api.autoscaling.minReplicas 11 is more than"),
        (
            {"api": {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}},
            "api.resources.requests.cpu is empty",
        ),
        ({"api": {"terminationGracePeriodSeconds": 10}}, "api.terminationGracePeriodSeconds 10 is too short"),
        ({"api": {"service": {"nodePort": 30000}}}, "api.service.nodePort is for api.service.type NodePort"),
        ({"api": {"ingress": {"enabled": True}}}, "api.ingress.hosts is empty"),
        ({"api": {"httpRoute": {"enabled": True}}}, "api.httpRoute.parentRefs is empty"),
        ({"store": {"ingress": {"enabled": True, "hosts": ["s.example.com"]}}}, "set store.enabled=true"),
        ({"valkey": {"persistence": {"enabled": False, "existingClaim": "c"}}}, "valkey.persistence.existingClaim"),
        ({"store": {"persistence": {"existingClaim": "c"}}}, "store.persistence.existingClaim"),
        ({"valkey": {"password": "a" * 16, "existingSecret": "v"}}, "valkey.password and valkey.existingSecret"),
        (
            {"valkey": {"enabled": False, "existingSecret": "v"}, "redis": {"existingSecret": "r"}},
            "use redis.existingSecret for an external one",
        ),
        ({"redis": {"caSecret": "ca"}}, "redis.caSecret is for an external Redis"),
        (
            {"valkey": {"enabled": False}, "redis": {"url": "redis://r", "caSecret": "ca"}},
            "redis.url does not begin with rediss://",
        ),
        (
            {"models": {"claim": "c", "image": "i", "cache": {"enabled": True}}},
            "models.claim and models.image and models.cache.enabled are mutually exclusive",
        ),
        ({"models": {"default": "htdemucs"}}, "names htdemucs, but no released image contains its weights"),
        ({"rebuild": {"enabled": True}, "install": {"id": ""}}, "install.id is empty"),
        (
            {"webhooks": {"endpoints": [{"name": "crm", "url": f"https://{host}.example.com"} for host in "ab"]}},
            'webhooks.endpoints has two entries named "crm"',
        ),
        (
            {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "would scrape every pod twice; keep one",
        ),
        (
            {"profiles": {"default": {"labels": {"stemyard.dev/run": "2"}}}},
            "profiles.default.fetch gets stemyard.dev/run in labels",
        ),
        (
            {"profiles": {"gpu": {"separate": {"annotations": {"kueue.x-k8s.io/queue-name": "x"}}}}},
            "profiles.gpu.separate gets kueue.x-k8s.io/queue-name in annotations",
        ),
        ({"profiles": {"default": {"dnsPolicy": "None"}}}, "has dnsPolicy None, but no dnsConfig.nameservers"),
        (
            {"profiles": {"default": {"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]}}},
            'the extra volume "x" must have one of configMap',
        ),
        (
            {"fetch": {"extraVolumes": [{"name": "x", "configMap": "x", "mountPath": "/x"}]}}
            | {"profiles": {"default": {"extraVolumes": [{"name": "x", "configMap": {"name": "y"}}]}}},
            'profiles.default.fetch gets two volumes named "x"',
        ),
        (
            {"profiles": {"default": {"extraVolumeMounts": [{"name": "x", "mountPath": "/x"}]}}},
            'profiles.default.fetch mounts "x", but there is no volume',
        ),
        (
            {"unscheduled": {"backoffBaseSeconds": 4000}},
            "unscheduled.backoffBaseSeconds 4000 is more than unscheduled.backoffMaxSeconds 3600",
        ),
        ({"profiles": {"gpu": {"maxActive": 2}}}, "profiles.gpu.maxActive 2 is more than maxActive 1"),
        ({"maxActivePerNamespace": 2}, "maxActivePerNamespace 2 is more than maxActive 1"),
        ({"maxActiveFetchPerNamespace": 5}, "maxActiveFetchPerNamespace 5 is more than maxActiveFetch 4"),
        ({"operator": {"retry": {"baseSeconds": 400}}}, "operator.retry.baseSeconds 400 is more than"),
        (
            {"operator": {"podDisruptionBudget": {"maxUnavailable": 0}}},
            "blocks the drain of every node with one of its pods",
        ),
        (
            {"api": {"podDisruptionBudget": {"maxUnavailable": "0%"}}},
            "api.podDisruptionBudget.maxUnavailable=0% blocks",
        ),
        (
            {"commonLabels": {"app.kubernetes.io/name": "x"}},
            "commonLabels sets app.kubernetes.io/name, which the chart",
        ),
        ({"valkey": {"podLabels": {"helm.sh/chart": "x"}}}, "valkey.podLabels sets helm.sh/chart, which the chart"),
        ({"api": {"podAnnotations": {"checksum/config": "x"}}}, "api.podAnnotations sets checksum/config, which"),
        (
            {"operator": {"podAnnotations": {"prometheus.io/port": "1"}}},
            "operator.podAnnotations sets prometheus.io/port, and so does operator.metrics.annotations=true",
        ),
        ({"api": {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}}, 'api.extraVolumes has a volume named "tmp"'),
        (
            {"operator": {"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}},
            'operator.extraVolumeMounts mounts "ca", but there is no volume of that name',
        ),
        (
            {"fetch": {"extraVolumes": [{"name": "work", "configMap": "c", "mountPath": "/c"}]}},
            'fetch.extraVolumes has a volume named "work"',
        ),
        (
            {"admissionPolicies": {"namespaces": {"team": {"queues": ["songs"]}}}},
            "admissionPolicies.namespaces.team limits queues of Kueue, but kueue.enabled=false",
        ),
        ({"profiles": {"gpu": {"queueName": "team"}}}, "profiles.gpu names a Kueue queue, but kueue.enabled=false"),
        (
            {"profiles": {"gpu": {"fetch": {"gpu": {"resource": "nvidia.com/gpu"}}}}},
            "request it in profiles.gpu.separate",
        ),
        ({"profiles": {"gpu": {"separate": {"device": "cpu"}}}}, "profiles.gpu.separate.device=cpu leaves the GPU"),
        (
            {"profiles": {"default": {"separate": {"resources": {"requests": {"memory": "2049Mi"}}}}}},
            "profiles.default.separate.resources.requests.memory 2049Mi is more than its limit 2Gi",
        ),
        (
            {"profiles": {"gpu": {"separate": {"maxMemory": "8G"}}}},
            "profiles.gpu.separate.maxMemory 8G is less than the memory limit 8Gi",
        ),
        ({"valkey": {"maxMemory": "1gb"}}, "valkey.maxMemory 1gb is more than valkey.resources.limits.memory 256Mi"),
        (
            {"sources": {"youtube": {"enabled": False, "cookiesSecret": "c"}}},
            "sources.youtube.cookiesSecret is set, but sources.youtube.enabled=false",
        ),
        (
            {"sources": {"youtube": {"overlay": {"image": "ytdlp:2", "claim": "ytdlp"}}}},
            "sources.youtube.overlay.image and sources.youtube.overlay.claim are mutually exclusive",
        ),
        (
            {"sources": {"youtube": {"enabled": False, "overlay": {"claim": "ytdlp"}}}},
            "sources.youtube.overlay.claim is set, but sources.youtube.enabled=false",
        ),
        (
            {"sources": {"youtube": {"overlay": {"leastVersion": "2026.11.1"}}}},
            "sources.youtube.overlay has a version, but neither image nor claim",
        ),
        (
            {"fetch": {"extraVolumes": [{"name": "ytdlp", "configMap": "c", "mountPath": "/c"}]}},
            'fetch.extraVolumes has a volume named "ytdlp"',
        ),
        (
            {"sources": {"youtube": {"pauses": {"beforeDownload": 10, "beforeDownloadMax": 5}}}},
            "beforeDownloadMax 5 is less than beforeDownload 10",
        ),
        (
            {"api": {"insecureDev": True, "resultSharing": "per-key"}},
            "api.resultSharing=per-key requires API keys, but api.insecureDev=true",
        ),
        ({"api": {"existingSecret": "tunes-api"}}, "api.existingSecret is tunes-api, the name of the chart's own"),
        (
            {"objectStore": {"existingSecret": "tunes-object-store"}},
            "objectStore.existingSecret is tunes-object-store, the name of the chart's own",
        ),
        (
            {"install": {"id": "main"}, "sources": {"objects": {"prefixes": ["main/stems"]}}},
            'sources.objects.prefixes has "main/stems"',
        ),
        (
            {"operator": {"extraEnv": [{"name": "WORKER_CONCURRENCY", "value": "4"}]}},
            "operator.extraEnv sets WORKER_CONCURRENCY, which maxActive sets",
        ),
        ({"fetch": {"maxActivePerHost": 5}}, "fetch.maxActivePerHost 5 is more than maxActiveFetch 4"),
        ({"helmTest": {"model": "htdemucs"}}, 'helmTest.model "htdemucs" is not in models.enabled'),
        (
            {"webhooks": {"endpoints": [{"name": "crm", "url": "http://crm.svc:80/hook"}]}},
            'webhooks.endpoints has "crm" at an http:// address',
        ),
        (
            {"valkey": {"enabled": False}, "redis": {"url": "redis://r/0", "port": 6380}},
            "redis.url names no port, which means 6379, and redis.port is 6380",
        ),
        (
            {"operator": {"extraEnv": [{"name": "MAX_ACTIVE", "value": "4"}]}},
            "operator.extraEnv sets MAX_ACTIVE, which maxActive sets; set that instead",
        ),
        (
            {"api": {"extraEnv": [{"name": "CORS_ALLOWED_ORIGINS", "value": "https://app.example.com"}]}},
            "api.extraEnv sets CORS_ALLOWED_ORIGINS, which api.corsAllowedOrigins sets",
        ),
        (
            {"api": {"extraEnv": [{"name": "R2_BUCKET", "value": "songs"}]}},
            "api.extraEnv sets R2_BUCKET, which objectStore.bucket sets",
        ),
        (
            {"api": {"extraEnv": [{"name": "PORT", "value": "80"}]}},
            "api.extraEnv sets PORT, which the chart sets; remove it",
        ),
        ({"api": {"extraEnv": [{"name": "A", "value": "1"}] * 2}}, "api.extraEnv sets A twice; keep one"),
        ({"models": {"enabled": ["htdemucs"]}}, 'models.default "spleeter-2stems" is not in models.enabled'),
        ({"sweep": {"force": "2026-02-30"}}, 'sweep.force "2026-02-30" is not a date'),
        (
            {"api": {"insecureDev": True, "ingress": {"enabled": True, "hosts": ["songs.example.com"]}}},
            "api.insecureDev=true lets anyone in without a key, but api.ingress",
        ),
        (
            {"api": {"insecureDev": True, "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}},
            "api.insecureDev=true lets anyone in without a key, but api.ingress",
        ),
        (
            {"api": {"insecureDev": True, "service": {"type": "LoadBalancer"}}},
            "api.insecureDev=true lets anyone in without a key, but api.ingress",
        ),
        (
            {"api": {"insecureDev": True, "corsAllowedOrigins": ["*"]}},
            "so every web page could use the API; name the origins",
        ),
        (
            {"valkey": {"maxMemory": "128mb", "resources": {"limits": {"memory": 67108864}}}},
            "valkey.maxMemory 128mb is more than valkey.resources.limits.memory 67108864, so",
        ),
        (
            {"profiles": {"default": {"fetch": {"resources": {"limits": {"memory": 536870912}}, "maxMemory": "1Mi"}}}},
            "profiles.default.fetch.maxMemory 1Mi is less than the memory limit 536870912 that",
        ),
    ],
)
def test_a_contradiction_is_refused_with_a_sentence(values: Object, sentence: str) -> None:
    with pytest.raises(HelmError) as refused:
        render(merge(BUCKET, values))
    assert sentence in str(refused.value)
    assert "stemyard/templates/values/refused.yaml" in str(refused.value)


def test_memory_in_bytes_is_compared_as_written() -> None:
    values = {"valkey": {"maxMemory": "100mb", "resources": {"limits": {"memory": 134217728}}}}
    limits = container(render(with_fixed(merge(BUCKET, values))), "valkey")["resources"]["limits"]
    assert int(limits["memory"]) == 134217728


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"objectStore": {"egressCIDRs": ["10.0.0.0/8"]}}, "objectStore.egressCIDRs are addresses of an external"),
        (
            {name: {"service": {"type": "NodePort", "nodePort": 30900}} for name in ("api", "store")},
            "api.service.nodePort and store.service.nodePort are both 30900",
        ),
        (
            {name: {"ingress": {"enabled": True, "hosts": ["songs.example.com"]}} for name in ("api", "store")},
            'api.ingress.hosts and store.ingress.hosts both have "songs.example.com"',
        ),
    ],
)
def test_a_contradiction_with_the_bundled_store_is_refused(values: Object, sentence: str) -> None:
    with pytest.raises(HelmError) as refused:
        render(merge({"store": {"enabled": True}}, values))
    assert sentence in str(refused.value)


def test_what_only_looks_like_a_contradiction_is_taken() -> None:
    profiles = {
        "default": {"separate": {"resources": {"requests": {"memory": "2Gi"}}, "maxMemory": "2147483648"}},
        "queued": {"queueName": "team", "fetch": {}},
        "bare": {},
    }
    endpoint = {"name": "crm", "url": "http://crm.svc:8080/hook"}
    allowed = {"endpoints": [endpoint], "allowedOrigins": ["http://crm.svc:8080"], "ports": [443]}
    volumes = {"extraVolumeMounts": [{"name": "tmp", "mountPath": "/scratch"}]}
    site = {"extractors": ["soundcloud"], "youtube": {"enabled": False, "proxySecret": "proxy"}}
    given = {"profiles": profiles, "kueue": {"enabled": True}, "webhooks": allowed, "api": volumes, "sources": site}
    assert render(merge(BUCKET, given))


def test_numbers_of_seven_digits_stay_whole() -> None:
    large: Object = {
        "limits": {"maxDurationSeconds": 10_000_000},
        "api": {"rateLimits": {"readsPerMinute": 3_000_000}, "quotas": {"minutesPerDay": 2_000_000}},
        "operator": {"retry": {"maxSeconds": 1_000_000}},
    }
    objects = render(merge(BUCKET, large))
    assert environment(objects, "api")["RATE_LIMIT_READS_PER_MINUTE"] == "3000000"
    assert environment(objects, "api")["QUOTA_MINUTES_PER_DAY"] == "2000000"
    assert environment(objects, "operator")["RETRY_MAX_SECONDS"] == "1000000"
    assert environment(objects, "operator")["MAX_DURATION_SECONDS"] == "10000000"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (BUCKET, "install.id, api.existingSecret, valkey.existingSecret"),
        ({**BUCKET, "install": {"id": "songs"}}, "api.existingSecret, valkey.existingSecret"),
        (
            {"store": {"enabled": True}, "api": {"insecureDev": True}, "valkey": {"existingSecret": "redis"}},
            "install.id, objectStore.existingSecret",
        ),
        (
            {
                **BUCKET,
                "api": {"secretKey": "a-key-0123456789abc"},
                "valkey": {"enabled": False},
                "redis": {"existingSecret": "redis"},
            },
            "install.id",
        ),
    ],
)
def test_without_a_cluster_nothing_is_generated(values: Object, named: str) -> None:
    """Each rendering would have another id and other keys."""
    with pytest.raises(HelmError, match=rf"without a cluster.*; set {named}, or render"):
        Helm().template(Release(RELEASE, NAMESPACE, values=values))
    fixed = Release(RELEASE, NAMESPACE, values=with_fixed(values))
    assert Helm().template(fixed) == Helm().template(fixed)
    assert Helm().lint(Release(RELEASE, NAMESPACE, values=values)) == []


def test_given_secrets_are_used_as_they_are() -> None:
    given = merge(BUCKET, {"api": {"secretKey": "0123456789abcdef"}, "valkey": {"password": "a" * 16}})
    secrets = {one["metadata"]["name"]: one["stringData"] for one in render(given) if one["kind"] == "Secret"}
    assert secrets["tunes-api"]["API_SECRET_KEY"] == "0123456789abcdef"
    assert secrets["tunes-redis"]["REDIS_URL"].startswith(f"redis://stemyard:{'a' * 16}@tunes-valkey.songs.svc.")


def test_values_files_win_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("a: {b: 1, c: [1, 2]}\n")
    second.write_text("a: {c: [3]}\n")
    assert read_values_files([first, second]) == {"a": {"b": 1, "c": [3]}}


@pytest.mark.parametrize("text", ["- a list\n", "a: [\n"])
def test_a_values_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(text)
    with pytest.raises(ValuesFileError, match=r"values\.yaml"):
        read_values_files([path])
