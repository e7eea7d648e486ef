"""The program and its page of the documentation."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stemyard_cli.exit_codes import ExitCode
from stemyard_kubectl.app import app
from stemyard_kubectl.exit_codes import MEANINGS

PROGRAM = str(Path(sys.executable).parent / "kubectl-stemyard")
PAGE = (Path(__file__).parents[2] / "docs/04-kubectl.md").read_text()
COMMANDS = sorted(str(command.name) for command in app.registered_commands)


def test_the_page_names_every_command_and_no_other() -> None:
    table = PAGE.partition("| command | what it does |\n|---|---|\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"(?m)^\| `([a-z]+)", table)) == COMMANDS


def test_the_page_has_the_exit_codes() -> None:
    table = PAGE.partition("| exit code | meaning |\n")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"(?m)^\| (\d+) \| (.+) \|$", table))
    assert rows == {str(code.value): meaning for code, meaning in MEANINGS.items()}
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_manifests_can_be_printed_without_a_cluster(tmp_path: Path) -> None:
    command = [PROGRAM, "run", "A song", "--dry-run", "--kubeconfig", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "searchQuery: A song" in done.stdout
    names = subprocess.run([*command[:3], "B", "--name", "x"], capture_output=True, text=True, timeout=120)
    assert names.returncode == ExitCode.USAGE
