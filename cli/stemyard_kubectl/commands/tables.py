"""`queue` and `top`: all separations of a namespace, or of the cluster."""

from typing import Annotated

import typer

from stemyard_cli.output import age, print_table, say
from stemyard_contract.separationjob import LABEL_MANAGED_BY, LABEL_STAGE, MANAGED_BY, Phase
from stemyard_kubectl.cluster import Cluster
from stemyard_kubectl.errors import ForbiddenError
from stemyard_kubectl.gpu_time import ProfileTime, by_profile, requested_gpus
from stemyard_kubectl.places import places, waiting
from stemyard_kubectl.separations import Separation
from stemyard_kubectl.settings import cluster_of

Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")]


def queue(context: typer.Context, everywhere: Everywhere = False) -> None:
    """List what waits, in the order in which it gets its slots."""
    with cluster_of(context) as cluster:
        found = [Separation.of(one) for one in cluster.separations(everywhere=everywhere)]
    known = places(found)
    rows = [_waiting(one, known[one.namespace, one.name], everywhere=everywhere) for one in waiting(found)]
    columns = ("PLACE", "NAME", "PHASE", "REASON", "PRIORITY", "PROFILE", "AGE", "SONG")
    if rows:
        print_table(("NAMESPACE", *columns) if everywhere else columns, rows)
    counts = {phase: sum(one.phase is phase for one in found) for phase in (Phase.FETCHING, Phase.SEPARATING)}
    say(f"{len(rows)} waiting, {counts[Phase.FETCHING]} fetching, {counts[Phase.SEPARATING]} separating")


def _waiting(one: Separation, place: int, *, everywhere: bool) -> tuple[str, ...]:
    row = (
        str(place),
        one.name,
        one.phase or "",
        one.status.reason or "",
        str(one.spec.priority),
        one.spec.profile,
        age(one.created.timestamp()),
        one.title,
    )
    return (one.namespace, *row) if everywhere else row


def top(context: typer.Context, everywhere: Everywhere = False) -> None:
    """Show GPU and CPU time by profile: what pods held, and how much of it networks computed."""
    with cluster_of(context) as cluster:
        found = [Separation.of(one) for one in cluster.separations(everywhere=everywhere)]
        times = by_profile(found, _gpus(cluster, everywhere=everywhere))
    columns = ("PROFILE", "RUNNING", "GPUS", "GPU HELD", "GPU BUSY", "BUSY", "CPU HELD", "COMPLETED", "FAILED")
    print_table(columns, map(_profile, times))
    if not times:
        say("no SeparationJobs")


def _gpus(cluster: Cluster, *, everywhere: bool) -> dict[tuple[str, str], int] | None:
    try:
        jobs = cluster.jobs(f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_STAGE}=separate", everywhere=everywhere)
    except ForbiddenError as error:
        say(f"GPUs held now are not shown. {error}")
        return None
    return {(job["metadata"]["namespace"], job["metadata"]["name"]): requested_gpus(job) for job in jobs}


def _profile(time: ProfileTime) -> tuple[str, ...]:
    return (
        time.profile,
        str(time.running),
        "?" if time.gpus is None else str(time.gpus),
        hours(time.held),
        hours(time.busy),
        "" if time.share is None else f"{100 * time.share:.0f} %",
        hours(time.cpu),
        str(time.completed),
        str(time.failed),
    )


def hours(seconds: float) -> str:
    """Return a time such as `2.5 h`, `3.0 min` or `12 s`."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
