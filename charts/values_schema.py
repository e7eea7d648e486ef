"""Makes values.schema.json from the commented values: types from the defaults, descriptions from the comments."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from charts.described_values import Value
from stemyard_contract.models import MODELS

Schema = dict[str, Any]

_NAME: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = rf"^(\*\.)?{_NAME}(\.{_NAME})*$"
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_CIDR4: Final = rf"({_OCTET}\.){{3}}{_OCTET}/(3[0-2]|[12]?[0-9])"
_CIDR6: Final = "[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/(12[0-8]|1[01][0-9]|[0-9]?[0-9])"
_CIDR: Final = {"type": "string", "pattern": f"^({_CIDR4}|{_CIDR6})$"}
_CIDRS: Final = {"type": "array", "items": _CIDR, "uniqueItems": True}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_COUNT: Final = {"type": "integer", "minimum": 1}
_STRINGS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_QUANTITIES: Final = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"},
}


def _closed(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


_RESOURCES: Final = _closed(
    {
        "requests": {**_QUANTITIES, "description": "What a node must have left for the container."},
        "limits": {**_QUANTITIES, "description": "What the container may not exceed."},
    }
)
_GPU: Final = _closed(
    {
        "resource": {"type": "string", "description": "Extended resource of the GPU, such as nvidia.com/gpu."},
        "count": {**_COUNT, "description": "How many of them a pod needs."},
    },
    ("resource",),
)
_CLAIM: Final = _closed(
    {
        "name": {"type": "string", "pattern": f"^{_NAME}$", "description": "Name of the claim within the pod."},
        "resourceClaimTemplateName": {"type": "string", "minLength": 1, "description": "What each pod's is made from."},
    },
    ("name", "resourceClaimTemplateName"),
)
_QUEUE: Final[Schema] = {"type": "string", "description": "LocalQueue of Kueue; needs kueue.enabled."}
_PLACEMENT: Final[Schema] = {
    "nodeSelector": {**_STRINGS, "description": "Node labels that the pod needs."},
    "tolerations": {**_OBJECTS, "description": "Taints that the pod tolerates."},
    "affinity": {"type": "object", "description": "Affinity of the pod."},
    "priorityClassName": {"type": "string", "description": "Priority class of the pod."},
    "runtimeClassName": {"type": "string", "description": "Runtime class of the pod."},
    "topologySpreadConstraints": {**_OBJECTS, "description": "How pods are spread over nodes and zones."},
}
_STAGE: Final = _closed(
    {
        "resources": {**_RESOURCES, "description": "Resources of the container."},
        "gpu": {**_GPU, "description": "Extended resource that the pod needs."},
        "resourceClaims": {
            "type": "array",
            "items": _CLAIM,
            "description": "Devices by dynamic resource allocation.",
        },
        "queueName": _QUEUE,
        "maxMemory": {"type": "string", "description": "Memory that an attempt may get after others ran out of it."},
        "device": {
            "enum": ["auto", "cpu", "cuda"],
            "description": "What separate computes on; cuda where gpu is set, which fails without a usable one.",
        },
        **_PLACEMENT,
    }
)
_PROFILE: Final = _closed(
    {
        "fetch": {**_STAGE, "description": "The fetch stage; it has only the placement written here."},
        "separate": {**_STAGE, "description": "The separate stage; what it leaves out is the profile's."},
        "queueName": _QUEUE,
        **_PLACEMENT,
    }
)
_PRIORITY_CLASS: Final = _closed(
    {
        "value": {
            "type": "integer",
            "minimum": -1_000_000_000,
            "maximum": 1_000_000_000,
            "description": "Higher is more important.",
        },
        "preemptionPolicy": {
            "enum": ["PreemptLowerPriority", "Never"],
            "description": "Whether its pods may push less important ones off a node.",
        },
        "description": {"type": "string", "description": "What it is for."},
    },
    ("value",),
)
_MOUNT: Final = _closed(
    {
        "name": {"type": "string", "pattern": f"^{_NAME}$", "description": "Name of the volume."},
        "configMap": {"type": "string", "description": "Name of the ConfigMap."},
        "mountPath": {"type": "string", "pattern": "^/", "description": "Where it is mounted."},
    },
    ("name", "configMap", "mountPath"),
)
_VARIABLES: Final = {
    "type": "array",
    "items": _closed(
        {
            "name": {"type": "string", "description": "Name of the variable."},
            "value": {"type": "string", "description": "Its value."},
            "valueFrom": {"type": "object", "description": "Where its value comes from, as in a container's env."},
        },
        ("name",),
    ),
}

_EVENTS: Final = {
    "type": "array",
    "items": {"enum": [f"separation.{what}" for what in ("started", "progress", "completed", "failed", "cancelled")]},
    "uniqueItems": True,
}
_SIGNING: Final = {
    "secret": {"type": "string", "pattern": "^(.{16,})?$", "description": "What signs."},
    "previousSecret": {"type": "string", "pattern": "^(.{16,})?$", "description": "What it replaces."},
}
_ENDPOINT: Final = _closed(
    {
        "name": {"type": "string", "pattern": f"^{_NAME}$", "description": "Name of the endpoint."},
        "url": {"type": "string", "pattern": "^https?://[^ ]+$", "maxLength": 1024, "description": "Where to POST to."},
        "keys": {"type": "array", "items": {"type": "string"}, "description": "Ids of API keys, or * for every track."},
        "events": {**_EVENTS, "description": "What it is told of."},
        **_SIGNING,
    },
    ("name", "url"),
)

CONSTRAINTS: Final[Mapping[str, Schema]] = {
    "fullnameOverride": {"pattern": f"^({_NAME})?$"},
    "install.id": {"pattern": f"^({_NAME})?$"},
    "images.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "images.*.repository": {"pattern": r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$"},
    "images.*.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "api.namespace": {"pattern": f"^({_NAME})?$"},
    "api.secretKey": {"pattern": "^(.{16,})?$"},
    "api.resultSharing": {"enum": ["shared", "per-key"]},
    "api.rateLimits.*": {"minimum": 0},
    "api.quotas.*": {"minimum": 0},
    "api.trustedProxies": _CIDRS,
    "api.corsAllowedOrigins": {
        "items": {"type": "string", "pattern": r"^(\*|https?://[a-z0-9.\[\]:-]+)$"},
        "uniqueItems": True,
    },
    "*.extraEnv": _VARIABLES,
    "separator.extraEnv": _STRINGS,
    "*.extraVolumes": _OBJECTS,
    "*.extraVolumeMounts": _OBJECTS,
    "*.topologySpreadConstraints": _OBJECTS,
    "*.maxUnavailable": {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]{1,3}%$"},
    "*.parentRefs": _OBJECTS,
    "extraManifests": {"type": "array", "items": {"type": ["object", "string"]}},
    "api.autoscaling.*Replicas": _COUNT,
    "api.autoscaling.targetCPUUtilizationPercentage": {"minimum": 1, "maximum": 1000},
    "operator.retry.*": _COUNT,
    "operator.resyncSeconds": {"minimum": 10},
    "watchNamespaces": {"items": {"type": "string", "pattern": f"^{_NAME}$"}},
    "maxActive*": {"minimum": 1},
    "maxActivePerNamespace": {"minimum": 0},
    "profiles": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z0-9][a-z0-9.-]{0,62}$"},
        "additionalProperties": _PROFILE,
    },
    "ttl.*": {"minimum": 0},
    "sweep.seconds": {"minimum": 0},
    "sweep.force": {"pattern": r"^(\d{4}-\d{2}-\d{2})?$"},
    "kueue.apiVersion": {"pattern": "^v[0-9][a-z0-9]*$"},
    "fetch.maxActivePerHost": {"minimum": 0},
    "fetch.spacingSeconds": {"minimum": 0},
    "limits.*": _COUNT,
    "limits.maxFileSizeMb": {"maximum": 5120},
    "models.default": {"enum": sorted(MODELS)},
    "models.enabled": {"items": {"enum": sorted(MODELS)}, "uniqueItems": True},
    "sources.objects.prefixes": {
        "items": {"type": "string", "pattern": "^[^/,]+(/[^/,]+)*/?$", "maxLength": 1024},
        "uniqueItems": True,
    },
    "sources.youtube.*Secret": {"pattern": r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"},
    "sources.youtube.poTokenUrl": {"pattern": "^(https?://[^ ]+)?$"},
    "sources.youtube.pauses.*": {"type": "number", "minimum": 0, "maximum": 3600},
    "sources.extractors": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:+-]*$"},
        "uniqueItems": True,
    },
    "models.cache.accessMode": {"enum": ["ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany", "ReadWriteOncePod"]},
    "models.cache.size": {"pattern": "^[0-9]+(Mi|Gi|Ti)$"},
    "models.cache.host": {"pattern": "^(https?://[^ ]+)?$"},
    "models.cache.extraEgress": _OBJECTS,
    "helmTest.timeoutSeconds": _COUNT,
    "monitoring.*Monitor.interval": {"pattern": "^[0-9]+(ms|s|m|h)$"},
    "priorityClasses": {
        "type": "object",
        "propertyNames": {"pattern": r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", "not": {"pattern": "^system-"}},
        "additionalProperties": _PRIORITY_CLASS,
    },
    "monitoring.*.labels": _STRINGS,
    "monitoring.prometheusRule.runbookUrl": {"pattern": "^https?://[^ #]+$"},
    "*.nodeSelector": _STRINGS,
    "fetch.extraVolumes": {"type": "array", "items": _MOUNT},
    "fetch.extraEgress": _OBJECTS,
    "webhooks.url": {"pattern": "^(https?://[^ ]+)?$", "maxLength": 1024},
    "webhooks.events": _EVENTS,
    "webhooks.endpoints": {"type": "array", "items": _ENDPOINT, "maxItems": 32},
    "webhooks.keySecrets": {"type": "object", "additionalProperties": _closed(_SIGNING)},
    "webhooks.proxyUrl": {"pattern": "^(https?://[^ ]+)?$"},
    "webhooks.*ecret": {"pattern": "^(.{16,})?$"},
    "webhooks.existingSecret": {"pattern": "^.*$"},
    "webhooks.ports": {"type": "array", "items": _PORT, "uniqueItems": True},
    "webhooks.allowedOrigins": {
        "type": "array",
        "items": {"type": "string", "pattern": "^https?://[^/ ]+$"},
        "uniqueItems": True,
    },
    "webhooks.timeoutSeconds": _COUNT,
    "webhooks.concurrency*": _COUNT,
    "webhooks.extraEgress": _OBJECTS,
    "objectStore.*ndpoint": {"pattern": "^(https?://[^/ ]+/?)?$"},
    "objectStore.publicDomain": {"pattern": "^((https?://)?[^/ ]+(/[^ ]*)?)?$"},
    "*.ingress.hosts": {"items": {"type": "string", "pattern": _HOST}, "uniqueItems": True},
    "*.httpRoute.hostnames": {"items": {"type": "string", "pattern": _HOST}, "uniqueItems": True},
    "objectStore.bucket": {"pattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"},
    "objectStore.egressCIDRs": _CIDRS,
    "redis.url": {"pattern": "^(rediss?://.+)?$"},
    "redis.port": _PORT,
    "valkey.password": {"pattern": "^([A-Za-z0-9]{16,})?$"},
    "valkey.maxMemory": {"pattern": "^[0-9]+(kb|mb|gb)$"},
    "tracing.endpoint": {"pattern": "^(https?://[^ ]+)?$"},
    "clusterCIDRs": _CIDRS,
    "networkPolicy.apiFrom": _OBJECTS,
    "networkPolicy.metricsFrom": _OBJECTS,
    "networkPolicy.kubernetesApiCIDRs": {**_CIDRS, "minItems": 1},
    "networkPolicy.kubernetesApiPorts": {"type": "array", "items": _PORT, "minItems": 1},
    "networkPolicy.dns.cidrs": _CIDRS,
    "*.replicas": {"minimum": 0},
    "*.terminationGracePeriodSeconds": {"minimum": 1},
    "*.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "*.service.port": _PORT,
    "*.service.nodePort": {**_PORT, "type": ["integer", "null"]},
    "*.persistence.size": {"pattern": "^[0-9]+(Mi|Gi|Ti)$"},
    "*.resources": _RESOURCES,
    "*.tolerations": _OBJECTS,
    "*.affinity": {"type": "object", "additionalProperties": True},
}
"""What a default cannot tell, by name; `*` stands for any characters."""


def values_schema(values: Iterable[Value], title: str) -> Schema:
    """Return the JSON schema (draft 7) of a chart's values; what it does not name is refused."""
    properties = {value.path[-1]: _schema(value) for value in values}
    properties["global"] = {"type": "object", "description": "Values of a parent chart; none is used."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, **_closed(properties)}


def _schema(value: Value) -> Schema:
    described: Schema = {"description": value.description}
    if value.children:
        return described | _closed({child.path[-1]: _schema(child) for child in value.children})
    described |= _from_default(value.default)
    for name, constraint in CONSTRAINTS.items():
        if fnmatchcase(value.name, name):
            described |= constraint
    return described


def _from_default(default: object) -> Schema:
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, int):
        return {"type": "integer"}
    if isinstance(default, list):
        return {"type": "array", "items": {"type": "string"}}
    if isinstance(default, dict):
        return dict(_STRINGS)
    return {"type": "string"}
