"""Records `stemyard run` in a pseudo-terminal: `python -m demo.recording` writes an asciicast and a picture of it.

The asciicast (version 2, docs.asciinema.org) has every output with its time; the picture is an SVG that plays it once.
"""

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from demo.images import ROOT

COMMAND: Final = ("stemyard", "run", "song.mp3")
CAST: Final = ROOT / "docs/images/run.cast"
PICTURE: Final = ROOT / "docs/images/run.svg"
_CLIP: Final = ROOT / "tests/golden/audio/clip.mp3"
_COLUMNS, _ROWS = 80, 5
_KEY_SECONDS: Final = 0.06
"""Time between two keys of the command, which nobody types."""
_CLEAR_LINE: Final = "\r\x1b[2K"
_CHARACTER, _LINE, _MARGIN = 8.4, 20, 16
"""Pixels of the picture."""


class RecordingError(Exception):
    """The command failed, or wrote what the picture cannot show."""


@dataclass(frozen=True, slots=True)
class Output:
    """What was written to the terminal, and when, in seconds since the beginning."""

    at: float
    text: str


def record(folder: Path) -> list[Output]:
    """Run the command on the bundled clip, twice, and return the output of the second time.

    The first time fetches the weights if they are missing.

    Args:
        folder: an empty folder to work in.

    Raises:
        RecordingError: the command failed.
    """
    program = Path(sys.executable).parent / COMMAND[0]
    shutil.copy(_CLIP, folder / COMMAND[-1])
    first = [str(program), *COMMAND[1:], "--out", "first"]
    if subprocess.run(first, cwd=folder, capture_output=True, check=False).returncode:
        raise RecordingError("the command failed; run it yourself to see why")
    typed = [Output(index * _KEY_SECONDS, key) for index, key in enumerate(["$ ", *" ".join(COMMAND), "\r\n"])]
    begin = typed[-1].at
    return [*typed, *(Output(begin + one.at, one.text) for one in _outputs(program, folder))]


def _outputs(program: Path, folder: Path) -> Iterator[Output]:
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    start = time.monotonic()
    with subprocess.Popen(
        [program, *COMMAND[1:]],
        cwd=folder,
        env={**variables, "TERM": "xterm-256color"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as process:
        os.close(inside)
        try:
            while written := _read(terminal):
                yield Output(time.monotonic() - start, written)
        finally:
            os.close(terminal)
    if process.returncode:
        raise RecordingError(f"the command failed with {process.returncode}")


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 1 << 16).decode()
    except OSError:  # Linux says so when the program has ended
        return ""


def cast(outputs: list[Output]) -> str:
    """Return outputs as an asciicast."""
    header = {"version": 2, "width": _COLUMNS, "height": _ROWS, "title": " ".join(COMMAND)}
    events = [[round(one.at, 3), "o", one.text] for one in outputs]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *events))


def outputs_of(text: str) -> list[Output]:
    """Return the outputs of an asciicast."""
    return [Output(at, written) for at, _, written in map(json.loads, text.splitlines()[1:])]


def screens(outputs: list[Output]) -> list[tuple[float, list[str]]]:
    """Return the lines of the terminal after each change, and when it was.

    Raises:
        RecordingError: something was written that moves the cursor otherwise than to begin a line again.
    """
    found: list[tuple[float, list[str]]] = []
    lines = [""]
    for output in outputs:
        for part in re.split(rf"({re.escape(_CLEAR_LINE)}|\r?\n)", output.text):
            if part == _CLEAR_LINE:
                lines = [*lines[:-1], ""]
            elif part in {"\n", "\r\n"}:
                lines = [*lines, ""]
            elif not part.isprintable():
                raise RecordingError(f"the picture cannot show {part!r}")
            else:
                lines = [*lines[:-1], lines[-1] + part]
        if not found or found[-1][1] != lines:
            found.append((output.at, lines))
    return found


def picture(outputs: list[Output]) -> str:
    """Return an SVG that plays outputs once; where nothing moves it shows the end."""
    shown = screens(outputs)
    ends = [at for at, _ in shown[1:]]
    groups = [_group(lines, at, end) for (at, lines), end in zip(shown, [*ends, None], strict=True)]
    width, height = _COLUMNS * _CHARACTER + 2 * _MARGIN, _ROWS * _LINE + 2 * _MARGIN
    font = "font: 14px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" role="img">\n'
        f"<title>{escape(' '.join(COMMAND))} in a terminal: {escape('; '.join(shown[-1][1][1:-1]))}</title>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#16181d"/>\n'
        f'<g fill="#e6e6e6" style="{font}; white-space: pre" xml:space="preserve">\n{"".join(groups)}</g>\n</svg>\n'
    )


def _group(lines: list[str], at: float, end: float | None) -> str:
    rows = [
        f'<text x="{_MARGIN}" y="{_MARGIN + (number + 0.75) * _LINE:g}" '
        f'textLength="{len(line) * _CHARACTER:g}">{escape(line)}</text>'
        for number, line in enumerate(lines)
        if line.strip()
    ]
    if end is None:  # the last is seen where nothing is played
        attribute, change = "", f'<set attributeName="visibility" to="hidden" begin="0s" end="{at:.3f}s"/>'
    else:
        attribute = ' visibility="hidden"'
        change = f'<set attributeName="visibility" to="visible" begin="{at:.3f}s" end="{end:.3f}s"/>'
    return f"<g{attribute}>{change}{''.join(rows)}</g>\n"


def main() -> int:
    """Write both files; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            outputs = record(Path(folder))
        except RecordingError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    CAST.write_text(cast(outputs))
    PICTURE.write_text(picture(outputs_of(CAST.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
