"""`retry` and `cancel`."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from stemyard_cli.exit_codes import sentence
from stemyard_cli.output import print_line, say
from stemyard_contract.separationjob import RUN_LIMIT, Phase, requested_run
from stemyard_kubectl.cluster import Cluster
from stemyard_kubectl.errors import InvalidError, MissingError, NotPossibleError
from stemyard_kubectl.exit_codes import exit_code
from stemyard_kubectl.separations import Separation
from stemyard_kubectl.settings import cluster_of

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of SeparationJobs.")]


def retry(
    context: typer.Context,
    names: Names,
    again: Annotated[bool, typer.Option("--again", help="Also run completed ones again.")] = False,
) -> None:
    """Run failed or cancelled separations again, by increasing spec.run."""
    with cluster_of(context) as cluster:
        do_each(names, lambda name: f"run {next_run(cluster, name, again=again)}")


def next_run(cluster: Cluster, name: str, *, again: bool = False) -> int:
    """Ask for the next run; return its number.

    Raises:
        NotPossibleError: it has not ended, or is completed, or has no number left.
    """
    resource = cluster.separation(name)
    one = Separation.of(resource)
    if one.phase is Phase.COMPLETED and not again:
        raise NotPossibleError(f"{name} is completed; --again separates it once more.")
    if not one.ended:
        raise NotPossibleError(f"{name} has not ended: it is {one.phase or 'not read by an operator yet'}.")
    run = requested_run(one.spec, one.status) + 1
    if run > RUN_LIMIT:
        raise NotPossibleError(f"{name} has no number of a run left.")
    # who asks at the same time changes spec.run first, and this patch is refused
    test = {"op": "test", "path": "/spec/run", "value": resource["spec"]["run"]}
    changes = [{"op": "add", "path": "/spec/run", "value": run}, {"op": "add", "path": "/spec/cancel", "value": False}]
    try:
        cluster.patch(name, [test, *changes])
    except InvalidError:
        now = Separation.of(cluster.separation(name))
        if requested_run(now.spec, now.status) < run:
            raise
        return requested_run(now.spec, now.status)
    return run


def cancel(context: typer.Context, names: Names) -> None:
    """Cancel separations, for everybody who requested them: their pods are removed, nothing is published."""
    with cluster_of(context) as cluster:
        do_each(names, lambda name: _cancelled(cluster, name))


def _cancelled(cluster: Cluster, name: str) -> str:
    one = Separation.of(cluster.separation(name))
    if one.ended:
        return f"not cancelled: it is {one.phase}"
    cluster.merge(name, {"spec": {"cancel": True}})
    return "cancelling"


def do_each(names: Sequence[str], action: Callable[[str], str]) -> None:
    """Print what became of each; one that is missing or refuses ends no other. Exit with the first one's code."""
    codes = []
    for name in names:
        try:
            print_line(f"{name}\t{action(name)}")
        except (MissingError, NotPossibleError) as error:
            say(sentence(error))
            codes.append(exit_code(error))
    if codes:
        raise typer.Exit(codes[0])
