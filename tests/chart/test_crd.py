"""The printed CRD is structural, current and bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from charts import crd

COMMITTED = Path(__file__).parents[2] / "charts/stemyard/files/crds/separationjobs.yaml"


def schema() -> dict[str, Any]:
    version = crd.custom_resource_definition()["spec"]["versions"][0]
    return dict(version["schema"]["openAPIV3Schema"])


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


def test_the_committed_crd_is_what_the_types_say() -> None:
    assert yaml.safe_load(COMMITTED.read_text()) == crd.custom_resource_definition()


def test_nothing_pydantic_is_left() -> None:
    for path, node in nodes(schema()):
        assert not {"anyOf", "$ref", "$defs", "title", "const", "propertyNames"} & node.keys(), path
        assert "type" in node, path


def test_everything_is_bounded() -> None:
    """CEL refuses rules over strings and lists that have no bound."""
    for path, node in nodes(schema()):
        if not path.startswith((".spec", ".status")):
            continue
        if node["type"] == "string" and node.get("format") != "date-time":
            assert "maxLength" in node or "enum" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_every_field_explains_itself() -> None:
    for path, node in nodes(schema()):
        if path.startswith((".spec.", ".status.")) and not path.endswith(("[]", "{}")):
            assert node.get("description"), path


def test_a_union_of_two_types_is_refused() -> None:
    class Odd(BaseModel):
        field: int | str

    with pytest.raises(crd.SchemaError):
        crd.structural(Odd)
