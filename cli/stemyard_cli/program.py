"""What the programs `stemyard` and `kubectl stemyard` have in common."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated

import typer

from stemyard_cli.output import print_line


def new_program(name: str, text: str, meanings: Iterable[tuple[int, str]]) -> typer.Typer:
    """Return a program without commands.

    Args:
        name: how users call it.
        text: what its help begins with.
        meanings: its exit codes and what they mean, with which its help ends.
    """
    return typer.Typer(
        name=name,
        help=text,
        epilog="Exit codes: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in meanings) + ".",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"stemyard {version('stemyard')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
]
"""The option --version."""
