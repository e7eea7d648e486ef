"""Generates the pages of all commands, arguments and options from the programs' own parsers."""

from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

import typer

from documentation.tables import paragraphs, table
from stemyard_cli import app as stemyard
from stemyard_cli import exit_codes as codes_of_stemyard
from stemyard_kubectl import app as plugin
from stemyard_kubectl import exit_codes as codes_of_plugin
from stemyard_separator.cli.arguments import arguments_parser

_HEAD: Final = """# Reference of the command line

<!-- Generated from stemyard_cli by `make generate`. Do not edit. -->

Every command of `stemyard`, as `stemyard COMMAND --help` shows it too. How to use them:
[the command line](../17-command-line.md).
"""
_KUBECTL_HEAD: Final = """# Reference of kubectl stemyard

<!-- Generated from stemyard_kubectl by `make generate`. Do not edit. -->

Every command of `kubectl stemyard`, as `kubectl stemyard COMMAND --help` shows it too. How to use them, and which
rights each needs: [kubectl stemyard](../04-kubectl.md#kubectl-stemyard).
"""
_RUN: Final = "run"
"""The command of `stemyard` that takes its arguments from the separator."""


def command_reference() -> str:
    """Return the page of `stemyard`, in Markdown."""
    return _page(_HEAD, stemyard.PROGRAM, stemyard.app, codes_of_stemyard.MEANINGS, {_RUN})


def kubectl_reference() -> str:
    """Return the page of `kubectl stemyard`, in Markdown."""
    return _page(_KUBECTL_HEAD, plugin.PROGRAM, plugin.app, codes_of_plugin.MEANINGS)


def _page(
    head: str,
    program: str,
    app: typer.Typer,
    meanings: Mapping[codes_of_stemyard.ExitCode, str],
    separators: Container[str] = (),
) -> str:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name=program)
    parts = [head, "\n", *_options("Before the command", command, context)]
    for name, below, inner in _commands(command, context):
        parts += [f"\n## {name}\n\n", paragraphs(below.help or ""), "\n"]
        parts += _separator() if name in separators else _command(below, inner)
    codes = [(f"{code.value}", meaning) for code, meaning in meanings.items()]
    return "".join([*parts, "\n## Exit codes\n\n", table(("code", "meaning"), codes)])


def _commands(group: Any, context: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - typer hides its types of commands
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        inner = typer.Context(below, info_name=name, parent=context)
        if hasattr(below, "list_commands"):
            yield from _commands(below, inner, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", below, inner


def _command(command: Any, context: Any) -> Iterator[str]:  # noqa: ANN401
    usage = context.get_usage().removeprefix("Usage: ")
    yield f"\n```text\n{usage}\n```\n"
    arguments = [_record(one, context) for one in command.get_params(context) if one.param_type_name == "argument"]
    if arguments:
        yield "\n" + table(("argument", "meaning"), arguments)
    yield from _options("Options", command, context)


def _options(title: str, command: Any, context: Any) -> Iterator[str]:  # noqa: ANN401
    found = [_record(one, context) for one in command.get_params(context) if one.param_type_name == "option"]
    shown = [(name, meaning) for name, meaning in found if "--help" not in name]
    if shown:
        yield f"\n{title}:\n\n" + table(("option", "meaning"), shown)


def _record(parameter: Any, context: Any) -> tuple[str, str]:  # noqa: ANN401
    name, meaning = parameter.get_help_record(context)
    return f"`{name}`", meaning


def _separator() -> Iterator[str]:
    """Describe the arguments of `run`, which the separator's own parser takes."""
    yield "\n"
    rows = []
    for action in arguments_parser()._actions:
        if action.dest != "help":
            name = ", ".join(action.option_strings) or f"{action.metavar or action.dest}..."
            rows.append((f"`{name}`", "; ".join(filter(None, (action.help, _choices(action.choices))))))
    yield table(("option", "meaning"), rows)


def _choices(choices: Any) -> str:  # noqa: ANN401 - argparse's
    return f"one of {', '.join(f'`{one}`' for one in choices)}" if choices else ""
