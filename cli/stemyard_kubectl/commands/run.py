"""`run`: applies SeparationJobs and follows them."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
import yaml

from stemyard_cli.boards import Board, board
from stemyard_cli.durations import seconds_of
from stemyard_cli.exit_codes import ExitCode
from stemyard_cli.output import print_line, say
from stemyard_contract.separationjob import Phase
from stemyard_kubectl.advice import what_to_do
from stemyard_kubectl.cluster import Cluster
from stemyard_kubectl.errors import MissingError, WaitTimeoutError
from stemyard_kubectl.following import follow
from stemyard_kubectl.manifests import manifest, source_of
from stemyard_kubectl.separations import Separation
from stemyard_kubectl.settings import cluster_of


def run(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(metavar="QUERY|URL", help="What to separate.")],
    name: Annotated[str, typer.Option(help="Name of the SeparationJob, if it is one.")] = "",
    is_object: Annotated[
        bool, typer.Option("--object", help="The arguments are keys of objects of the bucket.")
    ] = False,
    stems: Annotated[str | None, typer.Option(help="Stems, with commas, such as vocals,drums.")] = None,
    audio_format: Annotated[str | None, typer.Option("--format", help="mp3, flac, wav, m4a or opus.")] = None,
    bitrate: Annotated[int | None, typer.Option(help="Kilobits per second of mp3, m4a and opus.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model.")] = None,
    quality: Annotated[str | None, typer.Option(help="fast, balanced or best.")] = None,
    profile: Annotated[str | None, typer.Option(help="Scheduling profile of the deployment.")] = None,
    priority: Annotated[int | None, typer.Option(help="Waiting separations of higher priority start first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the manifests.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only apply, and print the names.")] = False,
    timeout: Annotated[str | None, typer.Option(help="Longest wait, such as 30m; it goes on afterwards.")] = None,
) -> None:
    """Apply a SeparationJob for each argument, and follow them to their end.

    The same command again follows the same SeparationJobs.
    """
    output = {name: value for name, value in (("format", audio_format), ("bitrate", bitrate)) if value is not None}
    given: dict[str, Any] = {
        "model": model,
        "quality": quality,
        "profile": profile,
        "priority": priority,
        "stems": [stem.strip() for stem in stems.split(",")] if stems else None,
        "output": output or None,
    }
    options = {field: value for field, value in given.items() if value is not None}
    if name and len(sources) > 1:
        raise typer.BadParameter("a name is for one separation", param_hint="--name")
    bodies = [manifest(source_of(source, is_object=is_object), options, name) for source in sources]
    if dry_run:
        print_line(yaml.safe_dump_all(bodies, sort_keys=False, allow_unicode=True).rstrip())
        return
    seconds = _seconds(timeout)
    with cluster_of(context) as cluster:
        names = [str(cluster.apply(body)["metadata"]["name"]) for body in bodies]
        if no_wait:
            for applied in names:
                print_line(applied)
            return
        _follow(cluster, names, seconds)


def _seconds(timeout: str | None) -> float | None:
    try:
        return None if timeout is None else float(seconds_of(timeout))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None


def _follow(cluster: Cluster, names: Sequence[str], seconds: float | None) -> None:
    """Follow separations, print what became of each, and exit with the first failure's code."""
    try:
        with board() as shown:
            ended = follow(cluster, names, lambda one: shown.show(one.name, one.as_job()), seconds)
            for name in names:
                _end(shown, name, ended.get(name))
    except KeyboardInterrupt:
        say(f"interrupted; {', '.join(names)} go on: {_why(cluster, names[0])}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    for one in ended.values():
        if one is not None:
            print_line(f"{one.name}\t{one.phase or ''}")
            if one.ended and one.phase is not Phase.COMPLETED:
                say(f"{one.name}: {_failure(one)}\n{what_to_do(one)}")
    if any(one is None for one in ended.values()):
        raise MissingError("A SeparationJob was deleted.")
    late = [one.name for one in ended.values() if one is not None and not one.ended]
    if late:
        raise WaitTimeoutError(f"{', '.join(late)} has not ended in time, and goes on: {_why(cluster, late[0])}")
    completed = all(one is not None and one.phase is Phase.COMPLETED for one in ended.values())
    raise typer.Exit(ExitCode.OK if completed else ExitCode.FAILED)


def _end(shown: Board, name: str, one: Separation | None) -> None:
    shown.end(name, "deleted" if one is None else one.phase or "waits for an operator")


def _why(cluster: Cluster, name: str) -> str:
    return f"`kubectl stemyard why {name} -n {cluster.namespace}`"


def _failure(one: Separation) -> str:
    failure = one.status.failure
    return f"{failure.message} ({failure.code})" if failure is not None else str(one.phase)
