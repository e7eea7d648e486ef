"""The commands of `stemyard`."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from stemyard_cli.commands import doctor, mcp, run, separate, settings, tracks, webhooks
from stemyard_cli.exit_codes import MEANINGS
from stemyard_cli.output import print_line
from stemyard_cli.program import VersionOption, new_program
from stemyard_cli.session import Session

PROGRAM: Final = "stemyard"
_FORWARDED: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


class Shell(StrEnum):
    """Shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


app = new_program(
    PROGRAM,
    "Separate songs into vocals and instrumental: on this machine (`run`) or with an installation.",
    MEANINGS.items(),
)


@app.callback()
def options(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="Address of the API instead of the stored one.")] = None,
    _version: VersionOption = False,
) -> None:
    """Take the options before the command."""
    context.obj = Session(url)


def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion of a shell, for example: source <(stemyard completion bash)."""
    from typer._completion_shared import get_completion_script

    print_line(get_completion_script(prog_name=PROGRAM, complete_var="_STEMYARD_COMPLETE", shell=shell.value))


app.command("run", context_settings=_FORWARDED, add_help_option=False)(run.run)
app.command("separate")(separate.separate)
app.command("get")(tracks.get)
app.command("list")(tracks.list_tracks)
app.command("watch")(separate.watch)
app.command("wait")(separate.wait)
app.command("download")(separate.download)
app.command("cancel")(tracks.cancel)
app.command("retry")(tracks.retry)
app.command("delete")(tracks.delete)
app.command("candidates")(tracks.candidates)
app.command("share")(tracks.share)
app.command("usage")(tracks.usage)
app.add_typer(webhooks.webhooks, name="webhooks")
app.add_typer(settings.keys, name="keys")
app.command("login")(settings.login)
app.command("doctor")(doctor.doctor)
app.command("config")(settings.config)
app.command("mcp")(mcp.mcp)
app.command("completion")(completion)
