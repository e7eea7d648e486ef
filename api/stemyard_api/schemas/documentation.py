"""An OpenAPI document as one HTML page: without scripts, and without requests to anything."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

_STYLE: Final = files(__package__).joinpath("documentation.css").read_text()
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Allows the page its style, and nothing else."""

_Node = Mapping[str, Any]


def documentation_page(document: _Node) -> str:
    """Return the page of a document."""
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in [*document["paths"].items(), *document["webhooks"].items()]
        for method, operation in methods.items()
    ]
    by_tag = {tag: [one for one in operations if tag in one[1]["tags"]] for tag in tags}
    title = escape(f"{document['info']['title']} API")
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<header><h1>{title} {escape(document['info']['version'])}</h1>{_text(document['info']['description'])}",
        "<p>Send your key in <code>X-API-Key</code>. "
        'For programs: <a href="openapi.json">openapi.json</a>.</p></header>',
        _navigation(by_tag),
        "<main>",
    ]
    for tag, members in by_tag.items():
        parts += [f"<h2>{escape(tag.capitalize())}</h2>", _text(tags[tag])]
        parts += [_operation(name, operation) for name, operation in members]
    parts.append('<h2 id="schemas">Schemas</h2>')
    parts += [_component(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    parts.append("</main></body></html>")
    return "".join(parts)


def _navigation(by_tag: Mapping[str, list[tuple[str, _Node]]]) -> str:
    links = (
        f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
        for members in by_tag.values()
        for _, operation in members
    )
    return f'<nav aria-label="Operations"><ul>{"".join(links)}<li><a href="#schemas">Schemas</a></li></ul></nav>'


def _operation(name: str, operation: _Node) -> str:
    parts = [
        f'<h3 id="{operation["operationId"]}">{escape(operation["summary"])}</h3><p><code>{escape(name)}</code></p>'
    ]
    parts.append(_text(operation.get("description", "")))
    if "security" not in operation and "x-internal" not in operation:
        parts.append("<p>Needs no key.</p>")
    if operation.get("parameters"):
        rows = (
            (
                f"{_code(one['name'])} ({one['in']})",
                _type(one["schema"]),
                _required(one),
                _text(one.get("description", "")),
            )
            for one in operation["parameters"]
        )
        parts += ["<h4>Parameters</h4>", _table("Parameters", ("Name", "Type", "", "Meaning"), rows)]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        parts += ["<h4>Body</h4>", f"<p>{_type(content['schema'])}</p>", _examples(content)]
    answers = (
        (_code(status), _text(response["description"]), _bodies(response))
        for status, response in operation["responses"].items()
    )
    parts += ["<h4>Responses</h4>", _table("Responses", ("Status", "Meaning", "Body"), answers)]
    return "".join(parts)


def _bodies(response: _Node) -> str:
    return "".join(
        f"<p>{_type(content['schema'])} <small>{escape(kind)}</small></p>{_examples(content)}"
        for kind, content in response.get("content", {}).items()
    )


def _examples(content: _Node) -> str:
    found = {"Example": content["example"]} if "example" in content else {}
    found |= {name.capitalize(): one["value"] for name, one in content.get("examples", {}).items()}
    return "".join(
        f"<details><summary>{escape(name)}</summary>{_listing(one)}</details>" for name, one in found.items()
    )


def _listing(value: object) -> str:
    return f"<pre>{escape(value if isinstance(value, str) else json.dumps(value, indent=2))}</pre>"


def _component(name: str, schema: _Node) -> str:
    parts = [f'<h3 id="schema-{name}">{name}</h3>', _text(schema.get("description", ""))]
    required = schema.get("required", ())
    rows = (
        (_code(field), _type(one), "required" if field in required else "", _text(one.get("description", "")))
        for field, one in schema.get("properties", {}).items()
    )
    parts.append(
        _table(f"Fields of {name}", ("Field", "Type", "", "Meaning"), rows)
        if "properties" in schema
        else f"<p>{_type(schema)}</p>"
    )
    parts += (f"<details><summary>Example</summary>{_listing(one)}</details>" for one in schema.get("examples", ()))
    return "".join(parts)


def _type(schema: _Node) -> str:
    """Return a type in words, with links to the components."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(_code(json.dumps(value)) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(schema.get("type", "any"))


def _required(parameter: _Node) -> str:
    if parameter.get("required"):
        return "required"
    return f"default {_code(json.dumps(parameter['schema']['default']))}" if "default" in parameter["schema"] else ""


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _text(text: str) -> str:
    """Return paragraphs; of Markdown, descriptions have only code."""
    paragraphs = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(one)) for one in text.split("\n\n") if one)
    return "".join(f"<p>{one}</p>" for one in paragraphs)


def _table(label: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{title}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    # what scrolls sideways on a phone must be reached by keyboard, too
    region = f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
    return f"{region}<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
