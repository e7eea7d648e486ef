"""Generates the reference of every field of a SeparationJob from its definition."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from charts.crd import custom_resource_definition

_HEAD: Final = """# Reference of the SeparationJob

<!-- Generated from stemyard_contract by `make generate`. Do not edit. -->

Every field of `{group}/{version}`, as `kubectl explain {plural} --recursive` shows it too.
How to use them: [kubectl](04-kubectl.md); what may change in later versions: [versioning](15-versioning.md).
Long patterns are in the [CRD](../charts/stemyard/files/crds/separationjobs.yaml) only.
"""
_PATTERN_LIMIT: Final = 50
"""Longest pattern that a cell of the table shows, in characters."""
_BOUNDS: Final = ("minLength", "maxLength", "minItems", "maxItems", "maxProperties", "minimum", "maximum", "pattern")

Schema = Mapping[str, Any]


def reference() -> str:
    """Return the page, in Markdown."""
    definition = custom_resource_definition()["spec"]
    [version] = definition["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [_HEAD.format(group=definition["group"], version=version["name"], plural=definition["names"]["plural"])]
    for part in ("spec", "status"):
        parts += [f"\n## {part}\n\n", _text(schema["properties"][part]), "\n\n"]
        parts += ["| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n"]
        parts += [_row(path, node, required) for path, node, required in _fields(schema["properties"][part])]
        rules = [rule for _, rule in _rules(part, schema["properties"][part])]
        parts += ["\nRules:\n\n", *(f"- {rule}\n" for rule in dict.fromkeys(rules))] if rules else []
    parts += ["\n## Columns of `kubectl get`\n\n| column | field | shown |\n|---|---|---|\n"]
    for column in version["additionalPrinterColumns"]:
        shown = "with `-o wide`" if column["priority"] else "always"
        parts.append(f"| {column['name']} | `{column['jsonPath']}` | {shown} |\n")
    return "".join(parts)


def _fields(node: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, child, name in node.get("required", ())
        yield from _fields(child, here)
        yield from _fields(child.get("items", {}), f"{here}[]")
        values = child.get("additionalProperties")
        if isinstance(values, dict):
            yield from _fields(values, f"{here}.*")


def _rules(path: str, node: Schema) -> Iterator[tuple[str, str]]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield path, f"`{path}`: {rule['message']}"
    for name, child in node.get("properties", {}).items():
        yield from _rules(f"{path}.{name}", child)
        yield from _rules(f"{path}.{name}[]", child.get("items", {}))


def _row(path: str, node: Schema, required: bool) -> str:
    default = f"`{json.dumps(node['default'])}`" if "default" in node else "required" if required else ""
    return f"| `{path}` | {_type(node)} | {default} | {_bounds(node)} | {_text(node)} |\n"


def _type(node: Schema) -> str:
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"map of {_type(node['additionalProperties'])}"
    return str(node.get("format", node.get("type", "")))


def _bounds(node: Schema) -> str:
    found = [f"{name} {_bound(node[name])}" for name in _BOUNDS if name in node]
    values = node.get("enum", node.get("items", {}).get("enum", ()))
    return ", ".join([*found, *(f"`{value}`" for value in values)])


def _bound(value: object) -> str:
    # a bar ends a cell, and `](` looks like a link
    text = str(value)
    return f"`{text}`" if len(text) <= _PATTERN_LIMIT and not {"|", "(", "`"} & set(text) else "in the CRD"


def _text(node: Schema) -> str:
    return " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
