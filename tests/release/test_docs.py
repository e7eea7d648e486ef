"""Pages lead to places that there are, and name tests that there are."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from charts.helm import CHART, merge
from tests.chart.rendered import BUCKET, Object, render
from tests.support.command_blocks import blocks

ROOT = Path(__file__).parents[2]
PARTS = ("api", "cli", "client", "client/typescript", "contract", "localcluster", "operator", "separator-image")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/stemyard/README.md")),
    *(ROOT / part / "README.md" for part in PARTS),
    *sorted(ROOT.glob("docs/**/*.md")),
]
MADE_LATER = {"tests/separator/corpus/"}
"""Folders that appear when something is found."""


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def page(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            parts = urlsplit(target)
            assert parts.scheme == "https", target
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or ""), target
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_tests_that_are_named_are_there(path: Path) -> None:
    for named in set(re.findall(r"`(tests/[\w/.]+)`", path.read_text())) - MADE_LATER:
        assert (ROOT / named).exists(), named


def test_each_step_of_the_overview_names_a_module_that_exists() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| (.+?) \| .+ \|$", (ROOT / "docs/00-overview.md").read_text())
    assert [int(number) for number, _ in rows] == list(range(1, 16))
    for number, where in rows:
        modules = re.findall(r"`([^`]+)`", where)
        assert modules, number
        assert all(name.endswith(".py") and (ROOT / name).is_file() for name in modules), where


def test_each_decision_of_the_overview_names_a_module_that_exists() -> None:
    table = (ROOT / "docs/00-overview.md").read_text().partition("| question | module |\n|---|---|\n")[2]
    rows = re.findall(r"(?m)^\| (.+?) \| (.+) \|$", table.partition("\n\n")[0])
    assert len(rows) >= 10
    for question, where in rows:
        modules = re.findall(r"`([^`]+\.py)`(?: \(`(\w+)`\))?", where)
        assert modules, question
        for name, constant in modules:
            assert f"\n{constant}" in (ROOT / name).read_text(), where


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_modules_that_are_named_exist(path: Path) -> None:
    parts = "(?:api|operator|contract|separator-image|charts|demo|localcluster|bench|images)"
    for named in set(re.findall(rf"`({parts}/[\w/.-]+\.py)`", path.read_text())):
        assert (ROOT / named).is_file(), named


KNOWN = yaml.safe_load((CHART / "values.yaml").read_text()).keys()
"""Names of the chart's values."""


def values_shown(path: Path) -> dict[str, Object]:
    """The chart's values among a page's YAML, by their places: mappings of names that the chart knows."""
    shown = [
        (one.line, yaml.safe_load(one.code))
        for one in blocks(path)
        if one.language == "yaml" and "\n---\n" not in one.code
    ]
    return {f"{page(path)}:{line}": values for line, values in shown if values and values.keys() <= KNOWN}


def completed(values: Object) -> Object:
    """Values with a bucket, and a watched namespace for the API: the release is in another than the pages say."""
    watched = values.get("watchNamespaces")
    placed = merge({"api": {"namespace": watched[0]}}, values) if watched else values
    return placed if "objectStore" in values else merge(BUCKET, placed)


VALUES: dict[str, Object] = {place: completed(values) for path in PAGES for place, values in values_shown(path).items()}


@pytest.mark.parametrize("place", VALUES)
def test_values_in_the_pages_are_taken_by_the_chart(place: str) -> None:
    assert render(VALUES[place])


def test_values_in_the_pages_are_found() -> None:
    assert len(VALUES) >= 25
    assert {place.partition(":")[0] for place in VALUES} >= {"docs/07-install.md", "docs/quick-start/your-cluster.md"}
