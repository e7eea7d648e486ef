"""Each task of an installation is a section of its own: when one wants it, how to see that it worked, the way back."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.release.test_docs import anchors

DOCS: Final = Path(__file__).parents[2] / "docs"
TASKS: Final = {
    "07-install.md": (
        "Install with Argo CD",
        "Use workload identity",
        "OpenShift",
        "Service mesh",
        "TLS inside the installation",
        "Private S3",
        "Cilium and egress",
        "Minimal rights for the installer",
        "Size etcd and Redis",
    ),
    "09-operations.md": ("Upgrade", "Rotate credentials", "Uninstall"),
    "10-security-model.md": ("Verify an image", "A public domain"),
}
SECTIONS: Final = [(page, title) for page, titles in TASKS.items() for title in titles]


def section(page: str, title: str) -> str:
    text = (DOCS / page).read_text()
    [found] = re.findall(rf"(?ms)^## {re.escape(title)}$(.+?)(?=^## |\Z)", text)
    return str(found)


@pytest.mark.parametrize(("page", "title"), SECTIONS, ids=[title for _, title in SECTIONS])
def test_a_task_says_when_how_to_check_and_the_way_back(page: str, title: str) -> None:
    text = section(page, title)
    assert re.findall(r"(?m)^\*\*(When|Check|Back)\.\*\* \S", text) == ["When", "Check", "Back"]
    assert text.strip().startswith("**When.**")
    steps = text.partition("**Check.**")[0]
    assert "```" in steps or re.search(r"(?m)^1\. ", steps), "it has no steps"


@pytest.mark.parametrize("page", TASKS)
def test_the_table_at_the_top_leads_to_every_task(page: str) -> None:
    text = (DOCS / page).read_text()
    top = text.partition("\n## ")[0]
    linked = set(re.findall(r"\]\(#([\w-]+)\)", top))
    assert linked >= {anchor for title in TASKS[page] for anchor in anchors(f"## {title}")}


def test_the_installation_page_leads_to_the_tasks_of_operations() -> None:
    top = (DOCS / "07-install.md").read_text().partition("\n## ")[0]
    assert {"upgrade", "rotate-credentials"} <= set(re.findall(r"\(09-operations\.md#([\w-]+)\)", top))
