"""Rewrites an OpenAPI document into forms that client generators agree on."""

import json
from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_COMPONENT: Final = "#/components/schemas/"
_NAMES: Final = {"Phase": "JobPhase"}
"""Names of components that collide: Go has a constant `Phase` for the enum value `phase` of a stream's events."""
_TYPES: Final = {bool: "boolean", int: "integer", str: "string"}


def make_portable(document: Schema) -> None:
    """Rewrite the schemas of a document in place.

    Without `const`, which some generators read as a type of its own: a text becomes an enum, a number or truth value
    any of its type, because enums of those do not compile everywhere. Without `title`, after which some name inline
    types, so that two fields of one name overwrite each other's type. Defaults of request bodies become
    part of the description, because some generators require fields that have one, and others always send it.
    """
    for name in _requested(document):
        for field in document["components"]["schemas"][name].get("properties", {}).values():
            _describe_default(field)
    components = document["components"]["schemas"]
    for name in _NAMES.keys() & components.keys():
        components[_NAMES[name]] = components.pop(name)
    for schema in _schemas(document):
        if isinstance(reference := schema.get("$ref"), str):
            name = reference.removeprefix(_COMPONENT)
            schema["$ref"] = reference if name not in _NAMES else _COMPONENT + _NAMES[name]
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if "const" in schema:
            value = schema.pop("const")
            schema["type"] = _TYPES[type(value)]
            if isinstance(value, str):
                schema["enum"] = [value]


def _requested(document: Schema) -> set[str]:
    """Return the names of the schemas of request bodies."""
    bodies = [
        content["schema"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    choices = [choice for body in bodies for choice in body.get("anyOf", [body])]
    return {choice["$ref"].rpartition("/")[2] for choice in choices if "$ref" in choice}


def _describe_default(field: Schema) -> None:
    if "default" in field:
        value = field.pop("default")
        text = value if isinstance(value, str) else json.dumps(value)
        field["description"] = f"{field.get('description', '')} `{text}` by default.".strip()


def _schemas(document: Schema) -> Iterator[Schema]:
    """Yield every schema object of a document, outermost first."""
    pending: list[Any] = [document["components"], document["paths"], document["webhooks"]]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            yield node
            pending += [value for name, value in node.items() if name not in {"example", "examples"}]
