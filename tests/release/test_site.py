"""The site of the documentation: it builds, every link leads somewhere, nothing is loaded from elsewhere."""

import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from documentation.site import READMES
from tests.support.docs_site import ROOT, Html, build_site, pages_of

SOURCES = [*(ROOT / name for name in READMES), *sorted((ROOT / "docs").rglob("*.md"))]
TAGS = {
    "heading_open": ("h1", "h2", "h3", "h4"),
    "table_open": ("table",),
    "bullet_list_open": ("ul",),
    "ordered_list_open": ("ol",),
    "list_item_open": ("li",),
    "fence": ("pre",),
    "tr_open": ("tr",),
    "image": ("img",),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return pages_of(site)


def page_of(source: Path, site: Path) -> Path:
    """The file that a page is rendered to."""
    relative = source.relative_to(ROOT / "docs" if source.is_relative_to(ROOT / "docs") else ROOT)
    if relative.name in {"README.md", "index.md"}:
        return site / relative.with_name("index.html")
    return site / relative.with_suffix("") / "index.html"


def test_every_page_is_in_the_site(site: Path) -> None:
    assert [source for source in SOURCES if not page_of(source, site).exists()] == []


def test_links_within_the_site_lead_somewhere(site: Path, pages: dict[Path, Html]) -> None:
    inside = [(path, link) for path, html in pages.items() for link in html.links if not urlsplit(link).scheme]
    assert len(inside) > 5000
    assert [(path, link) for path, link in inside if not leads_somewhere(path, link, site, pages)] == []


def leads_somewhere(path: Path, link: str, site: Path, pages: dict[Path, Html]) -> bool:
    parts = urlsplit(link)
    target = path
    if parts.path:
        # the page of an unknown address is shown at any address, so it links from the root of the host
        base = site if path.name == "404.html" else path.parent
        found = base / unquote(parts.path.removeprefix("/stemyard/"))
        target = (found / "index.html" if found.is_dir() else found).resolve()
    return target.is_file() and (not parts.fragment or unquote(parts.fragment) in pages[target].anchors)


def test_a_link_to_nothing_would_be_found(site: Path, pages: dict[Path, Html]) -> None:
    path = site / "concepts/index.html"
    assert leads_somewhere(path, "../glossary/#glossary", site, pages)
    for link in ("../nowhere/", "../glossary/#nowhere", "#nowhere"):
        assert not leads_somewhere(path, link, site, pages)


def test_links_out_of_the_site_are_well_formed(pages: dict[Path, Html]) -> None:
    hosts: Counter[str] = Counter()
    for path, html in pages.items():
        for link in html.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https", (path, link)
                assert parts.hostname, (path, link)
                assert "." in parts.hostname, (path, link)
                assert not set(link) & set(' <>"{}|\\^`'), (path, link)
                hosts[parts.hostname] += 1
    assert hosts["github.com"] > 50


def test_links_to_the_code_host_name_files_that_there_are(pages: dict[Path, Html]) -> None:
    prefix = "https://github.com/stemyard/stemyard/"
    named = {
        link for html in pages.values() for link in html.links if link.startswith((f"{prefix}blob/", f"{prefix}tree/"))
    }
    assert len(named) > 10
    for link in named:
        kind, branch, path = urlsplit(link).path.removeprefix("/stemyard/stemyard/").split("/", 2)
        assert branch == "main"
        assert (ROOT / path).is_file() if kind == "blob" else (ROOT / path).is_dir(), link


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Html]) -> None:
    for path, html in pages.items():
        assert html.resources
        for resource in html.resources:
            assert not urlsplit(resource).netloc, (path, resource)
            assert not urlsplit(resource).scheme, (path, resource)
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text()
        assert "@import" not in sheet.read_text()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_site_shows_what_a_code_host_shows(source: Path, site: Path, pages: dict[Path, Html]) -> None:
    """Lists without an empty line before them, for example, are lists for CommonMark only."""
    kinds: Counter[str] = Counter()
    for token in MarkdownIt("commonmark").enable("table").parse(source.read_text()):
        kinds.update([token.type, *(child.type for child in token.children or ())])
    shown = pages[page_of(source, site)].counts
    for kind, tags in TAGS.items():
        assert sum(shown.get(tag, 0) for tag in tags) == kinds[kind], (kind, tags)


def test_tables_show_bars_as_bars(site: Path) -> None:
    cells = re.findall(r"<td.*?</td>", (site / "17-command-line/index.html").read_text())
    assert any("QUERY|URL|FILE" in cell for cell in cells)
    every = [cell for path in site.rglob("*.html") for cell in re.findall(r"<td.*?</td>", path.read_text())]
    assert [cell for cell in every if "\\|" in cell] == []


def test_the_search_finds_pages_of_every_kind(site: Path) -> None:
    found = json.loads((site / "search/search_index.json").read_text())["docs"]
    text = {entry["location"]: entry["text"] for entry in found}
    for place, word in (
        ("reference/api/#request-a-separation", "separate-audio"),
        ("reference/metrics/", "stemyard_queue_wait_seconds"),
        ("charts/stemyard/#values", "maxActive"),
        ("16-failure-codes/", "SOURCE_NOT_FOUND"),
        ("decisions/0002-create-is-the-lock/", "lock"),
    ):
        assert any(word in content for location, content in text.items() if location.startswith(place)), place
