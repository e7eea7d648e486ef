"""What commands print: results on stdout, everything else on stderr; plain lines where it is not a terminal."""

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stemyard_contract.validation import printable

_COLOURS: Final = {"completed": "green", "failed": "red", "ok": "green", "warning": "yellow"}


def out() -> Console:
    """Return the console of stdout. Rich omits colours where NO_COLOR is set, and everything but text in files."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Return the console of stderr."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def visible(text: str) -> str:
    """Return text that a server may have written, without the control characters by which it could steer a terminal."""
    return "".join(part if part in {"\n", "\t"} else printable(part) for part in re.split(r"([\n\t])", text))


def say(text: str) -> None:
    """Print a line for people."""
    err().print(Text(visible(text)))


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """Print a value as JSON on one line, for programs."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a result on a line of its own; to anything but a terminal with whatever characters it has."""
    text = visible(text) if sys.stdout.isatty() else text
    sys.stdout.write(f"{text}\n".encode(errors="surrogateescape").decode(errors="replace"))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: on a terminal as a table, elsewhere with tabs and without a heading."""
    console = out()
    if not console.is_terminal:
        for row in rows:
            print_line("\t".join(_one_line(cell) for cell in row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell), style=_COLOURS.get(cell, "")) for cell in row))
    console.print(table, soft_wrap=False)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one of each on a line."""
    for name, value in fields:
        line = Text(f"{name:<12}", style="bold")
        line.append(visible(_one_line(value)), style=_COLOURS.get(value, "not bold"))
        out().print(line)


def age(moment: float | None, now: float | None = None) -> str:
    """Return how long ago a moment of epoch seconds is, such as `3 min`."""
    if moment is None:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - moment)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _one_line(text: str) -> str:
    return " ".join(text.split())
