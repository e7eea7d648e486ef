"""The chart as it is rendered for the installations it must serve."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import yaml

from charts.helm import CHART, Helm, Release, merge, read_values
from stemyard_contract.webhook_secrets import MASTER_LENGTH

Object = Mapping[str, Any]

NAMESPACE: Final = "songs"
RELEASE: Final = "tunes"
BUCKET: Final[Object] = {"objectStore": {"cloudflareAccountId": "abc123", "existingSecret": "bucket"}}
"""The least that has to be said: where stems are kept."""

CASES: Final[Mapping[str, Object]] = {
    "default": BUCKET,
    "demo": merge(
        read_values([CHART / "values-demo.yaml"]), {"objectStore": {"publicEndpoint": "http://192.0.2.7:30900"}}
    ),
    "two namespaces": merge(BUCKET, {"watchNamespaces": ["team-b", "team-a"], "api": {"namespace": "team-a"}}),
    "external": {
        "objectStore": {
            "endpoint": "https://s3.example.com:9000",
            "cloudflareAccountId": "abc123",
            "region": "eu-west-1",
            "publicDomain": "stems.example.com",
            "existingSecret": "bucket",
            "egressCIDRs": ["10.1.2.0/24"],
        },
        "redis": {"existingSecret": "redis", "port": 6380, "caSecret": "redis-ca"},
        "valkey": {"enabled": False},
        "api": {
            "existingSecret": "api-key",
            "cloudflareKV": {"namespaceId": "kv", "existingSecret": "cloudflare"},
            "resultSharing": "per-key",
            "rateLimits": {"submitsPerMinute": 5},
            "quotas": {"concurrent": 3, "minutesPerDay": 90, "uploadMbPerDay": 500, "streams": 20},
            "trustedProxies": ["10.0.0.0/8", "2001:db8::/32"],
            "corsAllowedOrigins": ["https://app.example.com", "http://localhost:3000"],
            "extraEnv": [{"name": "EXTRA", "value": "1"}],
        },
        "images": {
            "registry": "registry.example.com:5000/mirror",
            "pullSecrets": ["registry"],
            "api": {"digest": "sha256:" + "0" * 64},
        },
        "clusterCIDRs": ["192.0.2.0/24", "2001:db8::/32"],
        "webhooks": {"existingSecret": "hooks", "ports": [443, 9443], "proxyUrl": "http://proxy.example.com:3128"},
        "commonLabels": {"team": "audio"},
    },
    "kept": {
        "store": {"enabled": True, "persistence": {"storageClass": "fast"}},
        "valkey": {"persistence": {"enabled": True}},
        "fetch": {
            "extraVolumes": [{"name": "plugins", "configMap": "plugins", "mountPath": "/plugins"}],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.9/32"}}]}],
        },
        "separator": {"extraEnv": {"STEMYARD_THREADS": "2"}},
        "monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "1m"}},
        "models": {"claim": "weights"},
        "sources": {
            "youtube": {
                "cookiesSecret": "cookies",
                "proxySecret": "proxy",
                "poTokenUrl": "http://pot.songs.svc:4416",
                "overlay": {"claim": "newer-ytdlp", "leastVersion": "2026.11.1", "greatestVersion": "2027.1.1"},
                "pauses": {"betweenRequests": 0.75, "beforeDownload": 10, "beforeDownloadMax": 20},
            },
            "extractors": ["soundcloud", "Bandcamp"],
            "objects": {"prefixes": ["incoming/", "library/masters"]},
        },
        "webhooks": {
            "url": "http://consumer.example.com:8081/hook",
            "secret": "0123456789abcdef",
            "previousSecret": "fedcba9876543210",
            "allowHttp": True,
            "allowedOrigins": ["https://198.51.100.9:8443"],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.3.3.3/32"}}]}],
            "events": ["separation.started", "separation.failed"],
            "endpoints": [
                {"name": "crm", "url": "https://crm.example.com", "keys": ["team-a"], "secret": "s3cret-of-the-crm"},
                {"name": "all", "url": "https://all.example.com", "keys": ["*"], "events": ["separation.completed"]},
            ],
            "keySecrets": {"team-a": {"secret": "s3cret-of-team-a", "previousSecret": "s3cret-of-before"}},
        },
    },
    "workload identity": {
        "objectStore": {
            "endpoint": "https://s3.eu-west-1.amazonaws.com",
            "region": "eu-west-1",
            "workloadIdentity": {"enabled": True, "roleArn": "arn:aws:iam::123456789012:role/stemyard"},
        }
    },
    "encrypted": {
        "store": {"enabled": True},
        "tls": {
            "certManager": {"enabled": True},
            "desk": {"enabled": True},
            "valkey": {"enabled": True},
            "store": {"enabled": True, "existingSecret": "store-cert"},
        },
    },
    "secret files": {
        **BUCKET,
        "secrets": {"asFiles": True},
        "api": {
            "existingSecret": "api-key",
            "keys": {"existingSecret": "team-keys"},
            "cloudflareKV": {"namespaceId": "kv", "existingSecret": "cloudflare"},
        },
        "redis": {"existingSecret": "redis"},
        "valkey": {"enabled": False},
        "rebuild": {"enabled": True},
        "install": {"id": "earlier"},
        "sources": {"youtube": {"cookiesSecret": "cookies", "proxySecret": "proxy"}},
        "webhooks": {"existingSecret": "hooks"},
    },
    "air-gapped": {
        "store": {"enabled": True},
        "images": {"registry": "mirror.example.com/stemyard", "pullSecrets": ["mirror"], "pullPolicy": "Always"},
        "sources": {"youtube": {"enabled": False}},
        "valkey": {"existingSecret": "valkey"},
    },
    "everything": merge(
        BUCKET,
        {
            "objectStore": {"cloudflareAccountId": None, "existingSecret": None},
            "store": {
                "enabled": True,
                "ingress": {"enabled": True, "hosts": ["stems.example.com"], "tlsSecret": "stems-tls"},
                "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
                "podLabels": {"tier": "data"},
            },
            "valkey": {"podLabels": {"tier": "data"}},
            "api": {
                "autoscaling": {"enabled": True, "minReplicas": 3},
                "keys": {"existingSecret": "team-keys"},
                "ingress": {
                    "enabled": True,
                    "className": "nginx",
                    "annotations": {"cert-manager.io/cluster-issuer": "issuer"},
                    "hosts": ["songs.example.com", "songs.example.org"],
                    "tlsSecret": "songs-tls",
                },
                "httpRoute": {
                    "enabled": True,
                    "parentRefs": [{"name": "gateway", "namespace": "infra"}],
                    "hostnames": ["songs.example.com"],
                },
                "extraEnv": [{"name": "EXTRA", "value": "1"}],
                "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                "podLabels": {"tier": "front"},
                "podAnnotations": {"note": "api"},
                "serviceAccountAnnotations": {"iam.example.com/role": "stemyard"},
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
                ],
                "priorityClassName": "system-cluster-critical",
            },
            "operator": {
                "replicas": 2,
                "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                "podDisruptionBudget": {"maxUnavailable": "50%"},
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"operator": "Exists"}],
            },
            "models": {"default": "htdemucs", "enabled": ["spleeter-2stems", "htdemucs"], "cache": {"enabled": True}},
            "prePull": {"enabled": True},
            "install": {"id": "earlier"},
            "rebuild": {"enabled": True},
            "monitoring": {
                "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                "prometheusRule": {"enabled": True},
                "dashboard": {"enabled": True},
            },
            "priorityClasses": {
                "songs-urgent": {"value": 1000, "description": "Somebody waits"},
                "songs-whenever": {"value": -10, "preemptionPolicy": "Never"},
            },
            "extraManifests": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "extra", "labels": {"of": "{{ .Release.Name }}"}},
                },
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-text'}",
            ],
        },
    ),
}


CLUSTER_KINDS: Final = frozenset(
    {
        *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PriorityClass"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }
)
"""Kinds of the chart that belong to no namespace."""


def release(values: Object, name: str = RELEASE) -> Release:
    return Release(name, NAMESPACE, values=with_fixed(values))


def with_fixed(values: Object) -> dict[str, Any]:
    """Return the values with an id and keys where the chart would generate them, which needs a cluster."""
    given = {part: values.get(part) or {} for part in ("install", "api", "valkey", "store", "objectStore")}
    fixed: dict[str, Any] = {"install": {"id": "test-install"}}
    if not any(given["api"].get(name) for name in ("existingSecret", "secretKey", "insecureDev")):
        fixed["api"] = {"secretKey": "test-secret-key-0123"}
    if given["valkey"].get("enabled", True) and not given["valkey"].get("existingSecret"):
        fixed["valkey"] = {"password": "0123456789abcdef"}
    if given["store"].get("enabled") and not given["objectStore"].get("existingSecret"):
        fixed["objectStore"] = {"accessKeyId": "test-access", "secretAccessKey": "test-secret"}
    return merge(fixed, values)


def render(values: Object) -> list[Object]:
    """Parsed objects, each with the namespace that Helm puts it into."""
    documents = yaml.safe_load_all(Helm().template(release(values)))
    return [_placed(document) for document in documents if document]


@cache
def case(name: str) -> list[Object]:
    return render(CASES[name])


def _placed(document: dict[str, Any]) -> Object:
    if document["kind"] in CLUSTER_KINDS:
        return document
    return {**document, "metadata": {"namespace": NAMESPACE, **document["metadata"]}}


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def find(objects: Sequence[Object], kind: str, name: str) -> Object:
    [found] = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    return found


def containers(objects: Sequence[Object]) -> Iterator[Object]:
    for deployment in of_kind(objects, "Deployment"):
        yield from deployment["spec"]["template"]["spec"]["containers"]


def pods(objects: Sequence[Object]) -> Iterator[Object]:
    """Every pod, alone or by its template: metadata and spec."""
    yield from of_kind(objects, "Pod")
    for kind in ("Deployment", "DaemonSet", "Job"):
        yield from (one["spec"]["template"] for one in of_kind(objects, kind))


def container(objects: Sequence[Object], name: str) -> Object:
    [found] = [one for one in containers(objects) if one["name"] == name]
    return found


def environment(objects: Sequence[Object], name: str) -> dict[str, str]:
    """A container's variables with their values; those from Secrets that the deployer brings read `from <secret>`."""
    return {one["name"]: _value(objects, one) for one in container(objects, name)["env"]}


def _value(objects: Sequence[Object], variable: Object) -> str:
    source = variable.get("valueFrom", {})
    if "secretKeyRef" in source:
        return _from_secret(objects, source["secretKeyRef"])
    if "configMapKeyRef" in source:
        reference = source["configMapKeyRef"]
        return str(find(objects, "ConfigMap", reference["name"])["data"][reference["key"]])
    if "fieldRef" in source:
        return {"metadata.name": "pod-0", "metadata.namespace": NAMESPACE}[source["fieldRef"]["fieldPath"]]
    return str(variable.get("value", ""))


def _from_secret(objects: Sequence[Object], reference: Object) -> str:
    for secret in of_kind(objects, "Secret"):
        if secret["metadata"]["name"] == reference["name"]:
            if reference.get("optional") and reference["key"] not in secret["stringData"]:
                return ""
            return str(secret["stringData"][reference["key"]])
    text = f"from-{reference['name']}"
    return text.ljust(MASTER_LENGTH, ".") if reference["key"].startswith("WEBHOOK_MASTER_SECRET") else text


def schema() -> Object:
    document: Object = json.loads((CHART / "values.schema.json").read_text())
    return document
