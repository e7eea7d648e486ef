"""The printed CRD is structural, current and bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from charts import crd

COMMITTED = Path(__file__).parents[2] / "charts/stemyard/files/crds"
DEFINITIONS = {"separationjobs": crd.custom_resource_definition(), "keywebhooks": crd.key_webhooks_definition()}

every_definition = pytest.mark.parametrize("name", DEFINITIONS)


def schema(name: str) -> dict[str, Any]:
    version = DEFINITIONS[name]["spec"]["versions"][0]
    return dict(version["schema"]["openAPIV3Schema"])


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


@every_definition
def test_the_committed_crd_is_what_the_types_say(name: str) -> None:
    text = crd.definition_file(DEFINITIONS[name])
    assert (COMMITTED / f"{name}.yaml").read_text() == text, "run `make generate`"
    assert yaml.safe_load(text) == DEFINITIONS[name]


@every_definition
def test_nothing_pydantic_is_left(name: str) -> None:
    for path, node in nodes(schema(name)):
        assert not {"anyOf", "$ref", "$defs", "title", "const", "propertyNames"} & node.keys(), path
        assert "type" in node, path


@every_definition
def test_everything_is_bounded(name: str) -> None:
    """CEL refuses rules over strings and lists that have no bound."""
    for path, node in nodes(schema(name)):
        if not path.startswith((".spec", ".status")):
            continue
        if node["type"] == "string" and node.get("format") != "date-time":
            assert "maxLength" in node or "enum" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@every_definition
def test_every_field_explains_itself(name: str) -> None:
    for path, node in nodes(schema(name)):
        if path.startswith((".spec.", ".status.")) and not path.endswith(("[]", "{}")):
            assert node.get("description"), path


def test_a_union_of_two_types_is_refused() -> None:
    class Odd(BaseModel):
        field: int | str

    with pytest.raises(crd.SchemaError):
        crd.structural(Odd)


@every_definition
def test_long_patterns_are_refused_by_a_sentence(name: str) -> None:
    """The API server prints a pattern as it is."""
    for path, node in nodes(schema(name)):
        assert len(node.get("pattern", "")) <= 60 or path.startswith(".status"), path
        assert not [key for key in node if key.startswith("x-stemyard")], path
