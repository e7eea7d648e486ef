"""Each page of `docs/how-to/` lists the files that its example really lies in."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/how-to/*.md"))
PRODUCT = ("api", "charts", "contract", "operator", "separator-image")
COMPLETE = {"add-a-failure-code", "add-a-model", "add-a-setting"}
"""Pages whose example is a word that no other thing has: every product file that names it must be listed."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def plain(text: str) -> str:
    """Spelling without case and underscores: `spacingSeconds` and `SPACING_SECONDS` are one name."""
    return text.replace("_", "").lower()


def example(page: Path) -> str:
    [found] = re.findall(r"(?m)^Example to follow: `([^`]+)`", page.read_text())
    return plain(found)


def listed(page: Path) -> list[str]:
    """Paths at the beginning of the list's items."""
    heads = re.findall(r"(?m)^\d+\. (`[^:]+`):", page.read_text())
    return [path for head in heads for path in re.findall(r"`([^`]+)`", head)]


def is_compared(path: Path) -> bool:
    return path.is_file() and "web" not in path.parts and path.suffix in {".json", ".md", ".py", ".tpl", ".yaml"}


def test_there_is_a_page_for_each_common_change() -> None:
    subjects = {"a-field", "a-failure-code", "a-route", "a-setting", "a-model", "an-engine", "a-format"}
    assert {page.stem for page in PAGES} == {f"add-{subject}" for subject in subjects}


@every_page
def test_every_listed_file_names_the_example(page: Path) -> None:
    paths = listed(page)
    assert len(paths) >= 5
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    assert [path for path in paths if example(page) not in plain((ROOT / path).read_text())] == []


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_no_product_file_is_left_out(name: str) -> None:
    page = ROOT / f"docs/how-to/{name}.md"
    files = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*") if is_compared(path)]
    naming = {str(path.relative_to(ROOT)) for path in files if example(page) in plain(path.read_text())}
    assert naming - set(listed(page)) == set()
