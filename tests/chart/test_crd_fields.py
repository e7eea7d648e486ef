"""Every field of the resource explains itself, and nothing in it is without bound: CEL's cost depends on that."""

from collections.abc import Iterator
from typing import Any

import pytest

from charts.crd import custom_resource_definition

SCHEMA: dict[str, Any] = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every node below one, and whether it is a named field."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child, True
        yield from fields(child, f"{path}.{name}")
    for inner in (node.get("items"), node.get("additionalProperties")):
        if isinstance(inner, dict):
            yield f"{path}[]", inner, False
            yield from fields(inner, f"{path}[]")


FIELDS = [found for part in ("spec", "status") for found in fields(SCHEMA["properties"][part], part)]


@pytest.mark.parametrize(("path", "node"), [(path, node) for path, node, named in FIELDS if named])
def test_every_field_explains_itself(path: str, node: dict[str, Any]) -> None:
    text = node.get("description", "")
    assert text.endswith("."), path
    assert text[0].isupper() or text[0] == "`", path


@pytest.mark.parametrize(("path", "node"), [(path, node) for path, node, _ in FIELDS])
def test_everything_has_a_bound(path: str, node: dict[str, Any]) -> None:
    bounds = {
        "string": {"maxLength", "enum", "format"},
        "array": {"maxItems"},
        "object": {"maxProperties", "properties"},
    }.get(node.get("type", ""))
    assert bounds is None or bounds & node.keys(), path
