"""Pages lead to places that there are, and name tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "charts/stemyard/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
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
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_tests_that_are_named_are_there(path: Path) -> None:
    for named in set(re.findall(r"`(tests/[\w/.]+)`", path.read_text())) - MADE_LATER:
        assert (ROOT / named).exists(), named
