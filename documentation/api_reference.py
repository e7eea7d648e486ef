"""Generates the page of the REST API from its OpenAPI document."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from charts.api_document import api_document
from documentation.tables import paragraphs, table

_HEAD: Final = """# Reference of the API

<!-- Generated from the OpenAPI document by `make generate`. Do not edit. -->

Every endpoint and every object of the REST API. A running service has the same document at `/openapi.json`, and as a
page at `/docs`. How to use it: [the API](../../api/README.md); what a failure means:
[failure codes](../16-failure-codes.md).

Every endpoint but those marked *no key* needs the header `X-API-Key`, or `Authorization: Bearer`. Errors are
`application/problem+json` ([Problem](#problem)):

"""
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_BOUNDS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")
_JSON: Final = "application/json"
_FIRST_ERROR: Final = "400"

Schema = Mapping[str, Any]


def api_reference() -> str:
    """Return the page, in Markdown."""
    document: Schema = json.loads(api_document())
    parts = [_HEAD, table(("status", "meaning"), _errors(document))]
    for tag in document["tags"]:
        operations = list(_operations(document, tag["name"]))
        if operations:
            parts += [f"\n## {tag['name'].capitalize()}: endpoints\n\n{tag['description']}\n", *operations]
    parts.append("\n## Objects\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += [f"\n### {name}\n", *schema_text(schema)]
    return "".join(parts)


def _operations(document: Schema, tag: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            operation = methods.get(method)
            if operation is not None and tag in operation["tags"]:
                key = "" if operation.get("security") else " (*no key*)"
                yield f"\n### {operation['summary']}\n\n`{method.upper()} {path}`{key}\n\n"
                yield paragraphs(operation.get("description", "")) + "\n"
                yield from _parameters(operation.get("parameters", ()))
                yield from _body(operation)
                yield from _answers(operation["responses"])


def _parameters(parameters: Any) -> Iterator[str]:  # noqa: ANN401
    rows = [
        (f"`{one['name']}`", one["in"], _type(one["schema"]), _described(one, required=one.get("required", False)))
        for one in parameters
    ]
    if rows:
        yield "\n" + table(("parameter", "in", "type", "meaning"), rows)


def _body(operation: Schema) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if _JSON in content:
        yield f"\nBody: {_type(content[_JSON]['schema'])}\n"


def _answers(responses: Schema) -> Iterator[str]:
    yield "\n"
    for status, response in responses.items():
        if status < _FIRST_ERROR:
            kinds = [
                _type(media["schema"]) if "json" in name and "schema" in media else f"`{name}`"
                for name, media in response.get("content", {}).items()
            ]
            yield f"- {status}: {', '.join(kinds) or response['description']}\n"
    errors = [status for status in responses if status >= _FIRST_ERROR]
    if errors:
        yield f"- errors: {', '.join(errors)}\n"


def _errors(document: Schema) -> list[tuple[str, str]]:
    """Return each status of an error with what it means, which is the same for every endpoint."""
    found = {
        status: response["description"]
        for methods in document["paths"].values()
        for method in _METHODS
        for status, response in methods.get(method, {}).get("responses", {}).items()
        if status >= _FIRST_ERROR
    }
    return sorted(found.items())


def schema_text(schema: Schema) -> Iterator[str]:
    """Yield what an object is, and a table of its fields."""
    if "description" in schema:
        yield f"\n{paragraphs(schema['description'])}\n"
    if "enum" in schema:
        yield f"\nOne of {', '.join(f'`{value}`' for value in schema['enum'])}.\n"
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", _type(child), _described(child, required=name in required))
        for name, child in schema.get("properties", {}).items()
    ]
    if rows:
        yield "\n" + table(("field", "type", "meaning"), rows)


def _described(node: Schema, *, required: bool) -> str:
    text = node.get("description") or _real(node).get("description", "")
    return f"Required. {text}".strip() if required else text


def _real(node: Schema) -> Schema:
    """Return the schema without the alternative `null`, which an optional field has."""
    choices = [one for one in node.get("anyOf", ()) if one.get("type") != "null"]
    return choices[0] if len(choices) == 1 else node


def _type(node: Schema) -> str:
    node = _real(node)
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in node or "oneOf" in node:
        return " or ".join(_type(one) for one in node.get("anyOf", node.get("oneOf", ())))
    if node.get("type") == "array":
        return f"list of {_type(node.get('items', {}))}{_bounds(node)}"
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    kind = node.get("type", "any")
    inner = node.get("additionalProperties")
    return f"map of {_type(inner)}" if isinstance(inner, dict) else f"{kind}{_bounds(node)}"


def _bounds(node: Schema) -> str:
    found = [f"{name} {node[name]:g}" for name in _BOUNDS if name in node]
    return f" ({', '.join(found)})" if found else ""
