"""The built site of the documentation: its pages, with what each refers to."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SECONDS: Final = 300


def build_site(folder: Path) -> Path:
    """Build the site as `make docs` does, into a folder; return it.

    Raises:
        AssertionError: there was an error or a warning.
    """
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@dataclass
class Html(HTMLParser):
    """What a page has: links, anchors, resources that are loaded at once, and how many elements of each kind."""

    path: Path
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    """Elements of the article, by tag."""

    def __post_init__(self) -> None:
        super().__init__()
        self._in_article = False
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "article":
            self._in_article = True
        if self._in_article:
            self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in {"canonical", "prev", "next"}:
            self.resources.append(given["href"])
        elif "src" in given:
            self.resources.append(given["src"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._in_article = False


def pages_of(site: Path) -> dict[Path, Html]:
    """Return every page of a site by its path."""
    return {path: Html(path) for path in sorted(site.rglob("*.html"))}
