"""The command line of the operator, in its present and its previous spelling."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stemyard_operator import manager
from stemyard_operator.__main__ import main

PROGRAM = str(Path(sys.executable).parent / "stemyard-operator")
PREVIOUS = [sys.executable, "-m"]
COMMANDS = ("rebuild", "remirror", "bucket-rules")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: stemyard-operator")
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)], ids=str)
def test_a_wrong_setting_ends_a_command_with_a_sentence(command: tuple[str, ...]) -> None:
    ended = run(PROGRAM, *command, R2_ENDPOINT_URL="nowhere", MAX_ACTIVE="many")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "MAX_ACTIVE" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_replica_that_is_cancelled_without_a_signal_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(manager, "_run", cancelled)
    assert main([]) == 1


def test_a_replica_that_a_signal_cancels_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def waiting() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    monkeypatch.setattr(manager, "_run", waiting)
    assert main([]) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_the_previous_spelling_runs_the_command_and_names_the_new_one(command: str) -> None:
    module = f"stemyard_operator.{command.replace('-', '_')}"
    ended = run(*PREVIOUS, module, MAX_ACTIVE="many")
    hint, *rest = ended.stderr.splitlines()
    assert hint == f"python -m {module} is deprecated, use: stemyard-operator {command}"
    assert ended.returncode == 1
    assert "MAX_ACTIVE" in "".join(rest)


def test_the_previous_spelling_takes_arguments() -> None:
    ended = run(*PREVIOUS, "stemyard_operator.bucket_rules", "--days", "7")
    assert ended.returncode == 2
    assert "must be at least 8" in ended.stderr
