"""The generated reference has every field of the definition, and the committed one is current."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charts.crd import custom_resource_definition
from charts.reference import reference

PAGE = Path(__file__).parents[2] / "docs/14-reference.md"
[VERSION] = custom_resource_definition()["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]["properties"]


def names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node.get("properties", {})
        for child in [*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")]:
            yield from names(child)


def rows(part: str) -> dict[str, list[str]]:
    text = reference().partition(f"\n## {part}\n")[2].partition("\n## ")[0]
    found = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.split("\n") if line.startswith("| `")]
    assert all(len(cells) == 5 for cells in found)
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in found}


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "run `make generate`"


def test_every_field_is_there_once_and_explained() -> None:
    for part in ("spec", "status"):
        table = rows(part)
        assert sorted(path.rpartition(".")[2].removesuffix("[]") for path in table) == sorted(names(SCHEMA[part]))
        assert [path for path, cells in table.items() if not cells[3]] == []


def test_a_field_has_type_default_and_bounds() -> None:
    table = rows("spec")
    assert table["run"][:3] == ["integer", "`1`", "minimum `1`, maximum `99999`"]
    assert table["source"][:2] == ["object", "required"]
    assert table["claims[].key"][1] == "required"
    assert table["ttlSecondsAfterFinished"][1] == ""
    assert rows("status")["result.stems.*.key"][0] == "string"


def test_patterns_are_readable_or_left_to_the_crd() -> None:
    assert rows("spec")["model"][2].endswith("pattern `^[a-z0-9][a-z0-9._-]*$`")
    assert rows("status")["conditions[].reason"][2].endswith("pattern in the CRD")
    assert "&#" not in reference()


def test_every_column_is_listed() -> None:
    page = reference()
    for column in VERSION["additionalPrinterColumns"]:
        assert f"| {column['name']} | `{column['jsonPath']}` |" in page
