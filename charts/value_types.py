"""Schemas that several of the chart's values share; an `@schema` comment in values.yaml names one by `$ref`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from stemyard_contract.models import MODELS

Schema = dict[str, Any]
"""A JSON schema, draft 7."""

_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_CIDR4: Final = rf"({_OCTET}\.){{3}}{_OCTET}/(3[0-2]|[12]?[0-9])"
_CIDR6: Final = "[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/(12[0-8]|1[01][0-9]|[0-9]?[0-9])"
_QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
_STRINGS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECTS: Final[Schema] = {"type": "array", "items": {"type": "object"}}
_QUANTITIES: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number"], "pattern": _QUANTITY},
}


def closed(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """Return the schema of an object that has no other properties than these."""
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def resolve(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Return a schema with each `$ref` replaced by the type it names; keys beside a `$ref` take precedence.

    Raises:
        KeyError: there is no such type.
    """
    if isinstance(schema, list):
        return [resolve(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    base = TYPES[schema["$ref"]] if "$ref" in schema else {}
    return {**base, **{key: resolve(value) for key, value in schema.items() if key != "$ref"}}


_NAME: Final[Schema] = {"type": "string", "pattern": f"^{_LABEL}$"}
_RESOURCES: Final = closed(
    {
        "requests": {**_QUANTITIES, "description": "What a node must have left for the container."},
        "limits": {**_QUANTITIES, "description": "What the container may not exceed."},
    }
)
_GPU: Final = closed(
    {
        "resource": {"type": "string", "description": "Extended resource of the GPU, such as nvidia.com/gpu."},
        "count": {"type": "integer", "minimum": 1, "description": "How many of them a pod needs."},
    },
    ("resource",),
)
_RESOURCE_CLAIM: Final = closed(
    {
        "name": {**_NAME, "description": "Name of the claim within the pod."},
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
_STAGE: Final = closed(
    {
        "resources": {**_RESOURCES, "description": "Resources of the container."},
        "gpu": {**_GPU, "description": "Extended resource that the pod needs."},
        "resourceClaims": {
            "type": "array",
            "items": _RESOURCE_CLAIM,
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
_PROFILE: Final = closed(
    {
        "fetch": {**_STAGE, "description": "The fetch stage; it has only the placement written here."},
        "separate": {**_STAGE, "description": "The separate stage; what it leaves out is the profile's."},
        "queueName": _QUEUE,
        **_PLACEMENT,
    }
)
_PRIORITY_CLASS: Final = closed(
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
_CONFIG_MAP_MOUNT: Final = closed(
    {
        "name": {**_NAME, "description": "Name of the volume."},
        "configMap": {"type": "string", "description": "Name of the ConfigMap."},
        "mountPath": {"type": "string", "pattern": "^/", "description": "Where it is mounted."},
    },
    ("name", "configMap", "mountPath"),
)
_ENV_VAR: Final = closed(
    {
        "name": {"type": "string", "description": "Name of the variable."},
        "value": {"type": "string", "description": "Its value."},
        "valueFrom": {"type": "object", "description": "Where its value comes from, as in a container's env."},
    },
    ("name",),
)
_EVENT: Final[Schema] = {
    "enum": [f"separation.{what}" for what in ("started", "progress", "completed", "failed", "cancelled")]
}
_SIGNING: Final[Schema] = {
    "secret": {"type": "string", "pattern": "^(.{16,})?$", "description": "What signs."},
    "previousSecret": {"type": "string", "pattern": "^(.{16,})?$", "description": "What it replaces."},
}
_WEBHOOK_ENDPOINT: Final = closed(
    {
        "name": {**_NAME, "description": "Name of the endpoint."},
        "url": {"type": "string", "pattern": "^https?://[^ ]+$", "maxLength": 1024, "description": "Where to POST to."},
        "keys": {"type": "array", "items": {"type": "string"}, "description": "Ids of API keys, or * for every track."},
        "events": {"type": "array", "items": _EVENT, "uniqueItems": True, "description": "What it is told of."},
        **_SIGNING,
    },
    ("name", "url"),
)

TYPES: Final[Mapping[str, Schema]] = {
    "name": _NAME,
    "optionalName": {"type": "string", "pattern": f"^({_LABEL})?$"},
    "objectName": {"type": "string", "pattern": f"^{_SUBDOMAIN}$"},
    "optionalObjectName": {"type": "string", "pattern": f"^({_SUBDOMAIN})?$"},
    "host": {"type": "string", "pattern": rf"^(\*\.)?{_LABEL}(\.{_LABEL})*$"},
    "cidr": {"type": "string", "pattern": f"^({_CIDR4}|{_CIDR6})$"},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "resources": _RESOURCES,
    "profile": _PROFILE,
    "priorityClass": _PRIORITY_CLASS,
    "configMapMount": _CONFIG_MAP_MOUNT,
    "envVar": _ENV_VAR,
    "event": _EVENT,
    "webhookEndpoint": _WEBHOOK_ENDPOINT,
    "signingSecrets": closed(_SIGNING),
    "model": {"enum": sorted(MODELS)},
}
"""Types by the name that an `@schema` comment uses."""
