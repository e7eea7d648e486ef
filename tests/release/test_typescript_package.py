"""The TypeScript package is released with the project."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "client/typescript"


def test_its_version_is_the_project_s() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    assert json.loads((PACKAGE / "package.json").read_text())["version"] == version
    assert lock["version"] == lock["packages"][""]["version"] == version
    assert f"stemyard-client-{version}.tgz" in (PACKAGE / "README.md").read_text()


def test_it_needs_nothing_to_run() -> None:
    package = json.loads((PACKAGE / "package.json").read_text())
    assert {"dependencies", "peerDependencies", "optionalDependencies"}.isdisjoint(package)


def test_its_types_name_every_field_and_value_of_the_document() -> None:
    """`make test-clients` compares the whole file, with Node; this says it in seconds."""
    document = json.loads((ROOT / "api/openapi.json").read_text())
    schemas = document["components"]["schemas"].values()
    fields = {name for schema in schemas for name in schema.get("properties", {})}
    values = {value for schema in schemas for value in schema.get("enum", []) if isinstance(value, str)}
    known = set(re.findall(r"[\w.]+", (PACKAGE / "src/schema.ts").read_text()))
    assert fields | values | set(document["components"]["schemas"]) <= known, (
        "run `npm run generate` in client/typescript"
    )
