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
_WORD: Final = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_QUALIFIED: Final[Schema] = {"pattern": f"^({_SUBDOMAIN}/)?{_WORD}$"}
_LABELS: Final[Schema] = {
    "type": "object",
    "propertyNames": _QUALIFIED,
    "additionalProperties": {"type": "string", "pattern": f"^({_WORD})?$"},
}
_ANNOTATIONS: Final[Schema] = {
    "type": "object",
    "propertyNames": _QUALIFIED,
    "additionalProperties": {"type": "string"},
}
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
_PROFILE_OF_SECURITY: Final = {
    **closed(
        {
            "type": {"type": "string", "enum": ["RuntimeDefault", "Localhost"], "description": "Kind of profile."},
            "localhostProfile": {"type": "string", "minLength": 1, "description": "Name of a profile on the node."},
        },
        ("type",),
    ),
}
_POD_SECURITY_CONTEXT: Final = closed(
    {
        "appArmorProfile": {**_PROFILE_OF_SECURITY, "description": "AppArmor profile."},
        "fsGroupChangePolicy": {
            "type": "string",
            "enum": ["OnRootMismatch", "Always"],
            "description": "When the group of a volume's files is changed.",
        },
        "seccompProfile": {**_PROFILE_OF_SECURITY, "description": "Seccomp profile; the default is RuntimeDefault."},
        "seLinuxOptions": {**_STRINGS, "description": "SELinux labels: user, role, type, level."},
        "supplementalGroups": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "description": "Further groups of the user.",
        },
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
    "nodeSelector": {**_LABELS, "description": "Node selector of the pod."},
    "tolerations": {**_OBJECTS, "description": "Tolerations of the pod."},
    "affinity": {"type": "object", "description": "Affinity of the pod."},
    "priorityClassName": {"type": "string", "description": "Priority class of the pod."},
    "runtimeClassName": {"type": "string", "description": "Runtime class of the pod."},
    "topologySpreadConstraints": {**_OBJECTS, "description": "Topology spread constraints of the pod."},
    "schedulerName": {"type": "string", "description": "Scheduler of the pod; empty means the cluster's default."},
}
_POD_OPTIONS: Final[Schema] = {
    "labels": {**_LABELS, "description": "Labels of Jobs and pods."},
    "annotations": {**_ANNOTATIONS, "description": "Annotations of Jobs and pods."},
    "hostAliases": {
        "type": "array",
        "items": closed(
            {
                "ip": {"type": "string", "minLength": 1, "description": "IP address."},
                "hostnames": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "description": "Names that resolve to it.",
                },
            },
            ("ip", "hostnames"),
        ),
        "description": "Entries of the pods' /etc/hosts.",
    },
    "dnsPolicy": {
        "enum": ["ClusterFirst", "None"],
        "description": "How pods resolve names; they must resolve those of the desk and the object store.",
    },
    "dnsConfig": {
        **closed(
            {
                "nameservers": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "DNS servers; networkPolicy.dns.cidrs must contain them.",
                },
                "searches": {"type": "array", "items": {"type": "string"}, "description": "Search domains."},
                "options": {**_OBJECTS, "description": "Resolver options, as in a pod's dnsConfig."},
            }
        ),
        "description": "DNS parameters of the pods.",
    },
    "imagePullSecrets": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Names of pull secrets, in addition to images.pullSecrets.",
    },
    "extraVolumes": {
        **_OBJECTS,
        "description": "Read-only volumes: a name and one of configMap, secret, persistentVolumeClaim, csi, image.",
    },
    "extraVolumeMounts": {
        "type": "array",
        "items": closed(
            {
                "name": {**_NAME, "description": "Name of the volume."},
                "mountPath": {"type": "string", "pattern": "^/", "description": "Mount path; always read-only."},
                "subPath": {"type": "string", "description": "Path within the volume."},
            },
            ("name", "mountPath"),
        ),
        "description": "Where the volumes are mounted.",
    },
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
        "maxEphemeralStorage": {
            "type": "string",
            "description": "Maximum ephemeral storage of a retry after attempts were evicted for exceeding theirs.",
        },
        "device": {
            "enum": ["auto", "cpu", "cuda"],
            "description": "Device that separate computes on; cuda if gpu is set, which fails without a usable GPU.",
        },
        **_PLACEMENT,
        **_POD_OPTIONS,
    }
)
_WORKER: Final = closed(
    {
        "songs": {
            "type": "integer",
            "minimum": 1,
            "maximum": 10_000,
            "description": "Songs after which a worker ends; 50 by default.",
        },
        "idleSeconds": {
            "type": "number",
            "minimum": 0,
            "maximum": 3600,
            "description": "Seconds without a song after which it ends; 20 by default.",
        },
        "maxSeconds": {
            "type": "number",
            "minimum": 60,
            "maximum": 86_400,
            "description": "Seconds after which it takes no more songs; 3600 by default.",
        },
        "prefetch": {
            "type": "integer",
            "minimum": 0,
            "maximum": 4,
            "description": "Songs that it downloads while another one is separated; 1 by default.",
        },
    }
)
_SEPARATE: Final[Schema] = {
    **_STAGE,
    "properties": {
        **_STAGE["properties"],
        "worker": {
            **_WORKER,
            "description": "Lets several songs share a pod, one after another; see docs/20-workers.md.",
        },
    },
}
_PROFILE: Final = closed(
    {
        "fetch": {
            **_STAGE,
            "description": "The fetch stage; it inherits the profile's labels to extraVolumeMounts, not its placement.",
        },
        "maxActive": {
            "type": "integer",
            "minimum": 1,
            "description": "Maximum number of concurrent separations of the profile, within maxActive.",
        },
        "separate": {**_SEPARATE, "description": "The separate stage; it inherits from the profile what it omits."},
        "queueName": _QUEUE,
        **_PLACEMENT,
        **_POD_OPTIONS,
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
    "podSecurityContext": _POD_SECURITY_CONTEXT,
    "name": _NAME,
    "optionalName": {"type": "string", "pattern": f"^({_LABEL})?$"},
    "objectName": {"type": "string", "pattern": f"^{_SUBDOMAIN}$"},
    "optionalObjectName": {"type": "string", "pattern": f"^({_SUBDOMAIN})?$"},
    "host": {"type": "string", "pattern": rf"^(\*\.)?{_LABEL}(\.{_LABEL})*$"},
    "cidr": {"type": "string", "pattern": f"^({_CIDR4}|{_CIDR6})$"},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "labels": _LABELS,
    "annotations": _ANNOTATIONS,
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
