"""Ctrl-C at any moment: 130 and no traceback."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from stemyard_cli.questions import answer
from tests.cli.program import STEMYARD
from tests.support.http_server import Exchange, HttpServer


def interrupted(folder: Path, *arguments: str, at: str, **variables: str) -> tuple[int, str]:
    """Run a command in a terminal, press Ctrl-C when a pattern is seen; return the exit code and what was written."""
    pid, terminal = pty.fork()
    if pid == 0:
        own = {"XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder), "TERM": "xterm", **variables}
        os.chdir(folder)
        os.execve(STEMYARD, ["stemyard", *arguments], {**os.environ, **own})
    seen, pressed, deadline = "", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not pressed and re.search(at, seen):
            os.write(terminal, b"\x03")
            pressed = True
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                chunk = os.read(terminal, 1 << 16)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk.decode(errors="replace")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


@pytest.mark.parametrize(("command", "module"), [("list", "typer"), ("run", "numpy")])
def test_a_command_that_is_still_imported_leaves_at_once(tmp_path: Path, command: str, module: str) -> None:
    """The import of a module sends the signal, as if Ctrl-C were pressed just then."""
    hook = f"""
import os, signal, sys
from stemyard_cli.__main__ import main
class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000): pass
sys.meta_path.insert(0, Pressed())
sys.argv = ["stemyard", {command!r}, "song.mp3"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", hook], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("command", "question"),
    [(("login", "https://stems.example.org"), "API key"), (("login",), "Address"), (("delete", "t1"), r"\[y/N\]")],
)
def test_a_question_may_be_interrupted(tmp_path: Path, command: tuple[str, ...], question: str) -> None:
    code, seen = interrupted(tmp_path, *command, at=question, STEMYARD_URL="http://127.0.0.1:9", STEMYARD_API_KEY="key")
    assert code == 130, seen
    assert "Traceback" not in seen


def test_a_refusal_is_no_interruption() -> None:
    def refuse() -> str:
        raise typer.Abort

    with pytest.raises(typer.Abort):
        answer(refuse)


def test_the_first_download_of_the_weights_may_be_interrupted(tmp_path: Path) -> None:
    def slow(exchange: Exchange) -> None:
        time.sleep(3)
        exchange.answer(200, b"")

    (tmp_path / "song.mp3").write_bytes(b"x")
    with HttpServer(slow) as server:
        models = {"STEMYARD_MODEL_DIR": str(tmp_path / "models"), "PIP_INDEX_URL": server.url}
        code, seen = interrupted(tmp_path, "run", "song.mp3", at=r"once\.[\s\S]*weights", **models)
    assert code == 130, seen
    assert "goes on with the download" in seen
    assert "Traceback" not in seen


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from stemyard_cli.interruption import leave_at_once, raise_again\n"
        "leave_at_once(); raise_again(); print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n"
