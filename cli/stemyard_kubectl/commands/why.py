"""`why` and `logs`: what a separation does, and what its pods say."""

import textwrap
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.text import Text

from stemyard_cli.output import out, print_line, say, visible
from stemyard_contract.separationjob import LABEL_JOB, LABEL_STAGE
from stemyard_kubectl.cluster import Cluster, Json
from stemyard_kubectl.errors import MissingError, NotPossibleError
from stemyard_kubectl.facts import facts_about
from stemyard_kubectl.page import page
from stemyard_kubectl.separations import Separation
from stemyard_kubectl.settings import cluster_of

_INDENT: Final = " " * 4
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a SeparationJob.")]


class Stage(StrEnum):
    """Stages that have pods."""

    FETCH = "fetch"
    SEPARATE = "separate"


def why(
    context: typer.Context,
    name: Name,
    lines: Annotated[int, typer.Option("--log-lines", min=0, max=1000, help="Last lines of the log.")] = 10,
) -> None:
    """Say on one page what a separation does, why it waits or failed, and what to do."""
    with cluster_of(context) as cluster:
        found = facts_about(cluster, name, lines)
    for section in page(found):
        out().print(Text(visible(section.heading), style="bold"))
        for line in section.lines:
            for part in line.splitlines() or [""]:
                print_line(_wrapped(f"  {part}") if section.heading != "log" else f"  {part}")


def _wrapped(line: str) -> str:
    """Return a line broken between words for the terminal; as it is for a pipe."""
    console = out()
    if not console.is_terminal or len(line) <= console.width:
        return line
    return textwrap.fill(line, console.width, subsequent_indent=_INDENT, drop_whitespace=False, break_long_words=False)


def logs(
    context: typer.Context,
    name: Name,
    stage: Annotated[Stage | None, typer.Option(help="Of the last pod of a stage, instead of the last pod.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the pod ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines.")] = None,
) -> None:
    """Print the log of a separation's current or last pod."""
    with cluster_of(context) as cluster:
        pod = _pod_name(cluster, name, stage)
        say(f"pod {pod}")
        printed = False
        for line in cluster.log(pod, tail, follow=follow):
            print_line(line)
            printed = True
    if not printed:
        say("nothing yet")


def _pod_name(cluster: Cluster, name: str, stage: Stage | None) -> str:
    """Return the name of the pod that is meant.

    Raises:
        NotPossibleError: there is none.
    """
    one = Separation.of(cluster.separation(name))
    if stage is None and one.status.pod is not None:
        return one.status.pod
    selector = f"{LABEL_JOB}={name}" + (f",{LABEL_STAGE}={stage}" if stage is not None else "")
    try:
        pods: list[Json] = cluster.pods(selector)
    except MissingError:
        pods = []
    if not pods:
        raise NotPossibleError(
            f"{name} has no pod{f' of {stage}' if stage else ''} any more, or not yet; it is {one.phase}."
        )
    newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return str(newest["metadata"]["name"])
