"""What a server writes is shown, and steers no terminal."""

import sys
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from stemyard_cli import boards, output
from stemyard_client import Job

CLIPBOARD = "\x1b]52;c;cm0=\x07"
HOSTILE = f"Song {CLIPBOARD}\x1b[2J\x9b2J\u202e\x7f"


class Screen(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    found = Screen()
    console = Console(file=found, force_terminal=True, no_color=True, highlight=False, soft_wrap=True)
    monkeypatch.setattr(output, "out", lambda: console)
    monkeypatch.setattr(output, "err", lambda: console)
    monkeypatch.setattr(boards, "err", lambda: console)
    return found


def show_on_the_board(text: str) -> None:
    with boards.LiveBoard() as board:
        board.show(text, Job(status="processing", track_id="t1", phase=text))
        board.end(text, text)


@pytest.mark.parametrize(
    "show",
    [
        output.say,
        output.print_line,
        lambda text: output.print_table(["title"], [[text]]),
        lambda text: output.print_fields([("title", text)]),
        show_on_the_board,
    ],
)
def test_no_text_of_a_server_steers_a_terminal(
    screen: Screen, show: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", screen)
    show(HOSTILE)
    shown = screen.getvalue()
    assert "Song" in shown
    for sent in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e", "\x7f"):
        assert sent not in shown


def test_lines_and_columns_stay(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen)
    output.print_line("t1\tcompleted")
    output.say("one\ntwo \U0001f469\u200d\U0001f680")
    assert screen.getvalue() == "t1\tcompleted\none\ntwo \U0001f469\u200d\U0001f680\n"


def test_a_pipe_gets_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_line(HOSTILE)
    assert capsys.readouterr().out == HOSTILE + "\n"
