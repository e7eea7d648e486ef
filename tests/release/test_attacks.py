"""The security model names a test for each attack, and each test that it names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/10-security-model.md"


def section() -> str:
    return PAGE.read_text().partition("## Attacks from inside pods\n")[2].partition("\n## ")[0]


def functions_of(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions)}


def test_each_attack_has_a_test_that_exists() -> None:
    rows = [line for line in section().splitlines() if line.startswith("| ") and not line.startswith("| attack ")]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        assert [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)] == []


def test_every_test_of_an_attack_is_named() -> None:
    paths = (ROOT / "tests/api_server").glob("test_attacks_*.py")
    unnamed = [
        name for path in paths for name in functions_of(path) if name.startswith("test_") and name not in section()
    ]
    assert unnamed == ["test_a_link_to_read_changes_nothing_and_one_to_write_reads_nothing"], "which is none"
