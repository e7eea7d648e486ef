"""What contributors read is true: packages in the order of the layers, paths, Make targets, hooks."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PARTS: Final = {
    "operator": "operator/stemyard_operator",
    "api": "api/stemyard_api",
    "separator": "separator-image/stemyard_separator",
}
PAGES = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "docs/glossary.md",
    *sorted(ROOT.glob("docs/how-to/*.md")),
]
FOLDERS = ("api", "charts", "contract", "docs", "operator", "separator-image", "tests")

every_part = pytest.mark.parametrize("part", PARTS)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def packages(part: str) -> set[str]:
    return {path.parent.name for path in (ROOT / PARTS[part]).glob("*/__init__.py")}


def listed(readme: Path) -> list[str]:
    """Names in the first column of the README's first table."""
    table = readme.read_text().partition("|---|---|\n")[2].partition("\n\n")[0]
    return [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def layer_of(part: str) -> dict[str, int]:
    """Each module's layer, 0 at the top, as the import rules say."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract.get("id") == f"{part}-layers"]
    return {name: number for number, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}


@every_part
def test_a_parts_page_names_its_packages_in_the_order_of_the_layers(part: str) -> None:
    named = listed((ROOT / PARTS[part]).parent / "README.md")
    assert sorted(named) == sorted(packages(part))
    layers = layer_of(part)
    assert [layers[name] for name in named] == sorted(layers[name] for name in named)


@every_part
def test_a_parts_page_names_where_to_begin(part: str) -> None:
    page = (ROOT / PARTS[part]).parent / "README.md"
    modules = re.findall(r"`([\w/]+\.py)`", page.read_text().partition("|---|---|\n")[0])
    assert modules
    assert [name for name in modules if not (ROOT / PARTS[part] / name).is_file()] == []


def test_the_contracts_page_names_its_modules() -> None:
    folder = ROOT / "contract/stemyard_contract"
    assert sorted(listed(ROOT / "contract/README.md")) == sorted(path.stem for path in folder.glob("[a-z]*.py"))


@every_page
def test_paths_are_there(page: Path) -> None:
    named = re.findall(rf"\b(?:{'|'.join(FOLDERS)})/[\w./-]+", re.sub(r"\]\([^)]*\)", "", page.read_text()))
    assert [path for path in named if not (ROOT / path.rstrip(".")).exists()] == []


@every_page
def test_make_targets_are_there(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


def test_the_hooks_are_the_parts_of_make_check() -> None:
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    called = [hook["entry"].removeprefix("make ") for hook in local["hooks"]]
    [parts] = re.findall(r"(?m)^check: (.+?) ##", (ROOT / "Makefile").read_text())
    assert called == parts.split()


def test_make_format_leaves_nothing_for_make_check(tmp_path: Path) -> None:
    """A long line, which only the formatter breaks, and imports that only the linter sorts."""
    (tmp_path / "pyproject.toml").write_text('[tool.ruff]\nline-length = 60\nlint.select = ["E", "F", "I"]\n')
    line = 'FOUND = (os.name,   sys.path, "and what makes this line too long")\n'
    (tmp_path / "module.py").write_text(f"import sys\nimport os\n{line}")
    make = ["make", "--file", str(ROOT / "Makefile"), "--assume-old", "setup", "RUN="]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for target in ("format", "check-format"):
        done = subprocess.run(
            [*make, target], cwd=tmp_path, env=os.environ | {"PATH": path}, timeout=60, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
