"""The commands of `kubectl stemyard`."""

from importlib.metadata import version
from typing import Annotated, Final

import typer

from stemyard_cli.output import print_line
from stemyard_cli.session import Session
from stemyard_kubectl.commands import control, play, run, tables, why
from stemyard_kubectl.exit_codes import MEANINGS
from stemyard_kubectl.kubeconfig import Choice
from stemyard_kubectl.settings import Settings

PROGRAM: Final = "kubectl stemyard"
_EXIT_CODES: Final = "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."

app = typer.Typer(
    name=PROGRAM,
    help="SeparationJobs of a cluster, with the rights of your kubeconfig. The options below may be anywhere.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"stemyard {version('stemyard')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    kubeconfig: Annotated[str, typer.Option(help="Kubeconfig instead of KUBECONFIG or ~/.kube/config.")] = "",
    kube_context: Annotated[str, typer.Option("--context", help="Context instead of the current one.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace instead of the context's.")] = "",
    url: Annotated[str | None, typer.Option(help="For `play`: address of the API instead of the stored one.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options before the command."""
    context.obj = Settings(Choice(kubeconfig, kube_context, namespace), Session(url))


app.command("run")(run.run)
app.command("why")(why.why)
app.command("logs")(why.logs)
app.command("retry")(control.retry)
app.command("cancel")(control.cancel)
app.command("queue")(tables.queue)
app.command("top")(tables.top)
app.command("play")(play.play)
