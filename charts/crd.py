"""Prints the CustomResourceDefinition of SeparationJob, generated from its types: `python -m charts.crd`."""

import json
import sys
from typing import Any, Final

from pydantic import BaseModel

from stemyard_contract import separationjob as sj
from stemyard_contract.identity import NAME_LIMIT

_DROPPED: Final = frozenset({"title", "propertyNames", "$defs", "additionalProperties", "const"})


class SchemaError(TypeError):
    """A type cannot be expressed as a structural schema."""


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model.

    References are inlined; titles and `null` alternatives are dropped, since an optional field is absent, not null.

    Raises:
        SchemaError: a field is a union of two types other than null.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = _resolved(node, definitions)
    out = {key: value for key, value in node.items() if key not in _DROPPED}
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
    _column("Title", ".status.title"),
    _column("Model", ".spec.model"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Job", ".status.job", wide=True),
    _column("Reason", ".status.reason", wide=True),
    _column("Duration", ".status.duration", wide=True),
    _column("Fetches", ".status.attempts.fetch", "integer", wide=True),
    _column("Attempts", ".status.attempts.separate", "integer", wide=True),
    _column("Priority", ".spec.priority", "integer", wide=True),
)


def custom_resource_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{sj.PLURAL}.{sj.GROUP}"},
        "spec": {
            "group": sj.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": sj.KIND,
                "listKind": f"{sj.KIND}List",
                "plural": sj.PLURAL,
                "singular": sj.SINGULAR,
                "shortNames": [sj.SHORT_NAME],
                "categories": [sj.CATEGORY],
            },
            "versions": [
                {
                    "name": sj.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(_COLUMNS),
                    "schema": {"openAPIV3Schema": _root_schema()},
                }
            ],
        },
    }


def _root_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A song to be separated into stems.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(sj.SeparationJobSpec),
            "status": structural(sj.SeparationJobStatus),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.size() <= {NAME_LIMIT}",
                "message": f"at most {NAME_LIMIT} characters in the name, to leave room for its Jobs' names",
            }
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


def main() -> None:
    """Print the CustomResourceDefinition."""
    sys.stdout.write("# Generated from stemyard_contract by `make generate`. Do not edit.\n")
    sys.stdout.write(to_yaml(custom_resource_definition()))


if __name__ == "__main__":
    main()
