"""The TypeScript package is released with the project."""

import json
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
