"""The commands of `kubectl stemyard`."""

from typing import Annotated, Final

import typer

from stemyard_cli.program import VersionOption, new_program
from stemyard_cli.session import Session
from stemyard_kubectl.commands import control, play, run, tables, why
from stemyard_kubectl.exit_codes import MEANINGS
from stemyard_kubectl.kubeconfig import Choice
from stemyard_kubectl.settings import Settings

PROGRAM: Final = "kubectl stemyard"

app = new_program(
    PROGRAM,
    "SeparationJobs of a cluster, with the rights of your kubeconfig. The options below may be anywhere.",
    MEANINGS.items(),
)


@app.callback()
def options(
    context: typer.Context,
    kubeconfig: Annotated[str, typer.Option(help="Kubeconfig instead of KUBECONFIG or ~/.kube/config.")] = "",
    kube_context: Annotated[str, typer.Option("--context", help="Context instead of the current one.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace instead of the context's.")] = "",
    url: Annotated[str | None, typer.Option(help="For `play`: address of the API instead of the stored one.")] = None,
    _version: VersionOption = False,
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
