"""One version is named everywhere, the one of pyproject.toml; the release refuses a tag of another."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from charts.release_notes import notes
from tests.support.command_blocks import ROOT

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NAMED = re.compile(
    r"(?:stemyard-|Stemyard/|stemyard/stemyard/releases/download/v|kubectl-stemyard-v|stemyard-client-)(\d+\.\d+\.\d+)"
)
"""The project's version as documents name it: in names of files, addresses of releases and the User-Agent."""


def documents() -> list[Path]:
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "client").rglob("README.md")]
    return [path for path in found if "node_modules" not in path.parts]


def test_charts_and_the_api_s_document_have_the_version() -> None:
    chart = yaml.safe_load((ROOT / "charts/stemyard/Chart.yaml").read_text())
    api = json.loads((ROOT / "api/openapi.json").read_text())
    plugin = yaml.safe_load((ROOT / "krew/stemyard.yaml").read_text())
    assert {chart["version"], chart["appVersion"], api["info"]["version"]} == {VERSION}
    assert plugin["spec"]["version"] == f"v{VERSION}"


def test_documents_name_the_version() -> None:
    named = [(path.name, version) for path in documents() for version in NAMED.findall(path.read_text())]
    assert len(named) > 4
    assert {version for _, version in named} == {VERSION}, named


def test_the_changelog_has_notes_of_the_version() -> None:
    assert len(notes((ROOT / "CHANGELOG.md").read_text(), VERSION)) > 1000


@pytest.mark.parametrize(("line", "passes"), [(f'version = "{VERSION}"', True), ('version = "9.9.9"', False)])
def test_the_release_checks_its_tag(line: str, passes: bool) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
    [check] = [step for step in workflow["jobs"]["version"]["steps"] if "pyproject.toml" in step.get("name", "")]
    pattern = re.search(r'grep -qx "(.*)" pyproject', check["run"])
    assert pattern is not None
    assert (pattern[1].replace('\\"', '"').replace("${GITHUB_REF_NAME#v}", VERSION) == line) is passes
