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
        "requests": {**_QUANTITIES, "description": "Resource requests of the container."},
        "limits": {**_QUANTITIES, "description": "Resource limits of the container."},
    }
)
_GPU: Final = closed(
    {
        "resource": {"type": "string", "description": "Extended resource of the GPU, such as nvidia.com/gpu."},
        "count": {"type": "integer", "minimum": 1, "description": "Number of GPUs that a pod needs."},
    },
    ("resource",),
)
_RESOURCE_CLAIM: Final = closed(
    {
        "name": {**_NAME, "description": "Name of the claim in the pod."},
        "resourceClaimTemplateName": {
            "type": "string",
            "minLength": 1,
            "description": "ResourceClaimTemplate of each pod's claim.",
        },
    },
    ("name", "resourceClaimTemplateName"),
)
_QUEUE: Final[Schema] = {"type": "string", "description": "LocalQueue of Kueue; requires kueue.enabled."}
_PLACEMENT: Final[Schema] = {
    "nodeSelector": {**_STRINGS, "description": "Node selector of the pod."},
    "tolerations": {**_OBJECTS, "description": "Tolerations of the pod."},
    "affinity": {"type": "object", "description": "Affinity of the pod."},
    "priorityClassName": {"type": "string", "description": "Priority class of the pod."},
    "runtimeClassName": {"type": "string", "description": "Runtime class of the pod."},
    "topologySpreadConstraints": {**_OBJECTS, "description": "Topology spread constraints of the pod."},
}
_STAGE: Final = closed(
    {
        "resources": {**_RESOURCES, "description": "Resources of the container."},
        "gpu": {**_GPU, "description": "Extended resource that the pod needs."},
        "resourceClaims": {
            "type": "array",
            "items": _RESOURCE_CLAIM,
            "description": "Resource claims of the pod (dynamic resource allocation).",
        },
        "queueName": _QUEUE,
        "maxMemory": {
            "type": "string",
            "description": "Maximum memory limit of a retry after earlier attempts ran out of memory.",
        },
        "device": {
            "enum": ["auto", "cpu", "cuda"],
            "description": "Device that separate computes on; cuda if gpu is set, which fails without a usable GPU.",
        },
        **_PLACEMENT,
    }
)
_PROFILE: Final = closed(
    {
        "fetch": {**_STAGE, "description": "The fetch stage; it does not inherit the profile's placement."},
        "separate": {**_STAGE, "description": "The separate stage; it inherits from the profile what it omits."},
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
            "description": "Priority; a higher value is more important.",
        },
        "preemptionPolicy": {
            "enum": ["PreemptLowerPriority", "Never"],
            "description": "Whether its pods may preempt pods of lower priority.",
        },
        "description": {"type": "string", "description": "Description of the class."},
    },
    ("value",),
)
_CONFIG_MAP_MOUNT: Final = closed(
    {
        "name": {**_NAME, "description": "Name of the volume."},
        "configMap": {"type": "string", "description": "Name of the ConfigMap."},
        "mountPath": {"type": "string", "pattern": "^/", "description": "Mount path."},
    },
    ("name", "configMap", "mountPath"),
)
_ENV_VAR: Final = closed(
    {
        "name": {"type": "string", "description": "Name of the variable."},
        "value": {"type": "string", "description": "Value of the variable."},
        "valueFrom": {"type": "object", "description": "Source of the value, as in a container's env."},
    },
    ("name",),
)
_EVENT: Final[Schema] = {
    "enum": [f"separation.{what}" for what in ("started", "progress", "completed", "failed", "cancelled")]
}
_SIGNING: Final[Schema] = {
    "secret": {"type": "string", "pattern": "^(.{16,})?$", "description": "Signing secret."},
    "previousSecret": {
        "type": "string",
        "pattern": "^(.{16,})?$",
        "description": "Previous signing secret, during a rotation.",
    },
}
_WEBHOOK_ENDPOINT: Final = closed(
    {
        "name": {**_NAME, "description": "Name of the endpoint."},
        "url": {
            "type": "string",
            "pattern": "^https?://[^ ]+$",
            "maxLength": 1024,
            "description": "URL that receives the POST requests.",
        },
        "keys": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Ids of API keys whose tracks it receives, or * for every track.",
        },
        "events": {"type": "array", "items": _EVENT, "uniqueItems": True, "description": "Events that it receives."},
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
