"""Every command that a page shows is run, here or by the test it names, or the page says why not."""

import re
from pathlib import Path

import pytest

from tests.release.test_docs import PAGES, ROOT, page
from tests.support.command_blocks import HELM, SHELLS, blocks, needs_cluster, run_blocks

HERE = [path for path in PAGES if not needs_cluster(path) and any(one.is_run_here for one in blocks(path))]
COMMANDS = re.compile(r"(?m)^\$ |^(?:helm|kubectl|curl|make|python3?|uvx?|stemyard)\b.* -")
REASONS = re.compile(r"(?:needs|runs|rewrites|removes|starts|waits|brings|downloads|speaks) .{4,}")


@pytest.mark.parametrize("path", HERE, ids=page)
def test_commands_run(path: Path, tmp_path: Path) -> None:
    assert run_blocks(path, tmp_path, {"helm": HELM})


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_blocks_say_what_they_are_and_why_they_are_not_run(path: Path) -> None:
    found = list(blocks(path))
    assert len(found) * 2 == len(re.findall(r"(?m)^ *```", path.read_text())), (
        "a fence is not closed, or not understood"
    )
    for block in found:
        assert block.language, f"line {block.line} has no language"
        assert block.language in SHELLS or not COMMANDS.search(block.code), f"line {block.line} has commands"
        if block.not_run:
            assert REASONS.fullmatch(block.not_run), block.not_run
            assert all((ROOT / name).exists() for name in re.findall(r"tests/[\w/.]+", block.not_run)), block.not_run
        if block.run_by:
            text = (ROOT / block.run_by).read_text()
            assert path.name in text or path.stem in text or "LIVE_URL" in block.code, block.run_by


def test_most_pages_for_newcomers_are_run() -> None:
    for folder in ("tutorials", "quick-start"):
        found = sorted((ROOT / "docs" / folder).glob("*.md"))
        pages = [path for path in found if not path.stem.endswith("-transcript")]
        assert sum(any(one.is_run_here for one in blocks(path)) for path in pages) >= len(pages) - 1
