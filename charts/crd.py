"""Generates the CustomResourceDefinitions of SeparationJob and KeyWebhooks from their types."""

import json
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from stemyard_contract import key_webhooks
from stemyard_contract import separationjob as sj
from stemyard_contract.identity import NAME_LIMIT
from stemyard_contract.resource import PATTERN_MESSAGE, rule

_DROPPED: Final = frozenset({"title", "propertyNames", "$defs", "additionalProperties", "const"})


class SchemaError(TypeError):
    """A type cannot be expressed as a structural schema."""


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model.

    References are inlined; titles and `null` alternatives are dropped, since an optional field is absent, not null. A
    pattern with a message becomes a rule: the API server refuses by the message, and would print a pattern as it is.

    Raises:
        SchemaError: a field is a union of two types other than null.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = _resolved(node, definitions)
    out = {key: value for key, value in node.items() if key not in _DROPPED}
    if PATTERN_MESSAGE in out:
        matches = f"self.matches(r'{out.pop('pattern')}')"
        out["x-kubernetes-validations"] = [rule(matches, out.pop(PATTERN_MESSAGE))]
    if "const" in node:
        out["enum"] = [node["const"]]
    if isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if out.get("type") == "object" and "maxLength" in out:
        out["maxProperties"] = out.pop("maxLength")
    if "properties" in node:
        out["properties"] = {name: _convert(child, definitions) for name, child in node["properties"].items()}
    if "items" in node:
        out["items"] = _convert(node["items"], definitions)
    if out.get("default", ...) is None:
        del out["default"]
    if isinstance(out.get("default"), dict):
        out["default"] = {name: value for name, value in out["default"].items() if value is not None}
    return out


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the node with its reference or optional type inlined; its own description and default take precedence."""
    if "anyOf" in node:
        real = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(real) != 1:
            raise SchemaError(f"a union of {len(real)} types has no structural schema: {node}")
        own = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolved({**real[0], **own}, definitions)
    if "$ref" in node:
        own = {key: value for key, value in node.items() if key != "$ref"}
        return {**_resolved(definitions[node["$ref"].rpartition("/")[2]], definitions), **own}
    return node


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, "priority": int(wide)}


_COLUMNS: Final = (
    _column("Phase", ".status.phase"),
    _column("Progress", ".status.progress", "integer"),
    _column("Reason", ".status.reason"),
    _column("Title", ".status.title"),
    _column("Model", ".status.model"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Job", ".status.job", wide=True),
    _column("Duration", ".status.duration", wide=True),
    _column("Fetches", ".status.attempts.fetch", "integer", wide=True),
    _column("Attempts", ".status.attempts.separate", "integer", wide=True),
    _column("Priority", ".spec.priority", "integer", wide=True),
)


_KEY_WEBHOOKS_COLUMNS: Final = (
    _column("Key", ".spec.key"),
    _column("Revoked", ".spec.revoked", "boolean"),
    _column("URLs", ".spec.webhooks[*].url"),
    _column("Age", ".metadata.creationTimestamp", "date"),
)


def custom_resource_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of SeparationJob."""
    names = {"kind": sj.KIND, "plural": sj.PLURAL, "singular": sj.SINGULAR, "shortNames": [sj.SHORT_NAME]}
    return _definition(names, _root_schema(), _COLUMNS, {"subresources": {"status": {}}})


def key_webhooks_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of KeyWebhooks, which only the API writes."""
    plural = key_webhooks.PLURAL
    schema = _object("The webhooks that an API key has registered.", {"spec": structural(key_webhooks.KeyWebhooksSpec)})
    return _definition(
        {"kind": key_webhooks.KIND, "plural": plural, "singular": plural}, schema, _KEY_WEBHOOKS_COLUMNS, {}
    )


def _definition(
    names: dict[str, Any], schema: dict[str, Any], columns: Iterable[dict[str, Any]], more: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{sj.GROUP}"},
        "spec": {
            "group": sj.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names["kind"],
                "listKind": f"{names['kind']}List",
                **names,
                "categories": [sj.CATEGORY],
            },
            "versions": [
                {
                    "name": sj.VERSION,
                    "served": True,
                    "storage": True,
                    **more,
                    "additionalPrinterColumns": list(columns),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _object(description: str, parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **parts,
        },
    }


def _root_schema() -> dict[str, Any]:
    parts = {
        "spec": structural(sj.SeparationJobSpec),
        # what the operator has not seen yet is not up to date for kstatus, which Flux and Helm wait by
        "status": {**structural(sj.SeparationJobStatus), "default": {"observedGeneration": -1}},
    }
    return {
        **_object("A song to be separated into stems.", parts),
        "x-kubernetes-validations": [
            rule(
                f"self.metadata.name.size() <= {NAME_LIMIT}",
                f"at most {NAME_LIMIT} characters in the name, to leave room for its Jobs' names",
            )
        ],
    }


def to_yaml(value: object, indent: int = 0) -> str:
    """Return JSON-like data as block YAML with JSON strings, which are valid YAML."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(
            f"{pad}{json.dumps(key) if key.startswith('$') else key}:{_inline(child, indent)}"
            for key, child in value.items()
        )
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_inline(child, indent)}" for child in value)
    return f"{pad}{_scalar(value)}\n"


def _inline(value: object, indent: int) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + to_yaml(value, indent + 1)
    return f" {_scalar(value)}\n"


def _scalar(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def definition_file(definition: dict[str, Any]) -> str:
    """Return a CustomResourceDefinition as the chart contains it, in YAML."""
    return "# Generated from stemyard_contract by `make generate`. Do not edit.\n" + to_yaml(definition)
