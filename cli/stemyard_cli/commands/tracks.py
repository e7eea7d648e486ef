"""Commands that ask once: get, list, cancel, retry, delete, candidates, share, usage."""

import sys
import time
from enum import StrEnum
from typing import Annotated

import typer

from stemyard_cli.boards import remaining
from stemyard_cli.durations import seconds_of
from stemyard_cli.one_by_one import do_each
from stemyard_cli.output import age, print_fields, print_json, print_line, print_table
from stemyard_cli.questions import answer
from stemyard_cli.session import session_of
from stemyard_client import Client, Filters, Job

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object on a line.")]
Track = Annotated[str, typer.Argument(metavar="TRACK_ID")]
Tracks = Annotated[list[str], typer.Argument(metavar="TRACK_ID")]


class Status(StrEnum):
    """States of a track."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


def get(context: typer.Context, track: Track, as_json: AsJson = False) -> None:
    """Show a track: its state, why it waits or failed, and the links to its stems."""
    with session_of(context).client() as client:
        job = client.job(track)
    if as_json:
        print_json(job.model_dump(exclude_unset=True))
        return
    print_fields(_fields(job))


def _fields(job: Job) -> list[tuple[str, str]]:
    song = " - ".join(text for text in (job.artist, job.title) if text) or job.query or ""
    rows = [
        ("track", job.track_id),
        ("status", job.status),
        ("song", song),
        ("phase", job.phase),
        ("progress", f"{job.progress:.0f} %" if job.status == "processing" else None),
        ("place", f"{job.queue_position}. in line" if job.queue_position else None),
        ("left", remaining(job)),
        ("reason", job.reason),
        ("error", job.error),
        ("code", job.code),
        ("model", job.model),
        ("requested", f"{age(job.created_at)} ago"),
        *job.links.items(),
    ]
    return [(name, value) for name, value in rows if value]


def list_tracks(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only tracks in this state.")] = None,
    text: Annotated[str | None, typer.Option(help="Only tracks with these words in query, title or artist.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those requested or ended since, such as 7d.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Tracks of all keys; needs the scope admin.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Number of tracks at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the tracks of this key, newest first."""
    filters = Filters()
    if status is not None:
        filters["status"] = status.value
    if text is not None:
        filters["text"] = text
    if since is not None:
        filters["since"] = time.time() - _duration(since, "--since")
    if everyone:
        filters["all"] = True
    with session_of(context).client() as client:
        jobs = list(client.jobs(limit, **filters))
    if as_json:
        for job in jobs:
            print_json(job.model_dump(exclude_unset=True))
        return
    print_table(("TRACK", "STATUS", "PHASE", "%", "AGE", "SONG"), map(_row, jobs))


def _row(job: Job) -> tuple[str, ...]:
    song = job.title or job.query or ""
    return job.track_id, job.status, job.phase or "", f"{job.progress:.0f}", age(job.created_at), song


def cancel(context: typer.Context, tracks: Tracks) -> None:
    """Give up tracks; each is cancelled unless other keys want it too."""

    def cancelled(client: Client, track: str) -> str:
        done = client.cancel(track)
        return "cancelled" if done.cancelled else f"not cancelled: {done.status}, or claimed"

    do_each(session_of(context), tracks, cancelled)


def retry(context: typer.Context, tracks: Tracks) -> None:
    """Run failed or cancelled tracks again."""
    do_each(session_of(context), tracks, lambda client, track: str(client.retry(track).status))


def delete(
    context: typer.Context,
    tracks: Tracks,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete tracks and their files, unless other keys want them too."""
    if not yes:
        text = f"Delete {len(tracks)} track(s) and their stems?"
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on", param_hint="--yes")
        answer(lambda: typer.confirm(text, abort=True, err=True))
    do_each(
        session_of(context),
        tracks,
        lambda client, track: "deleted" if client.delete(track).deleted else "kept for other keys",
    )


def candidates(context: typer.Context, track: Track, as_json: AsJson = False) -> None:
    """Show the results of a track's search, and which was chosen."""
    with session_of(context).client() as client:
        found = client.candidates(track)
    if as_json:
        for one in found:
            print_json(one.model_dump(exclude_unset=True))
        return
    rows = [
        (
            "*" if one.chosen else "",
            f"{one.score:.2f}",
            _length(one.duration),
            one.title,
            one.channel or "",
            one.reason or "",
        )
        for one in found
    ]
    print_table(("", "SCORE", "LENGTH", "TITLE", "CHANNEL", "REASON"), rows)


def _length(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def share(
    context: typer.Context,
    track: Track,
    expires_in: Annotated[str | None, typer.Option(help="How long the link is valid, such as 12h or 30d.")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="End all share links of the track instead.")] = False,
) -> None:
    """Print a link to a completed track that needs no key."""
    with session_of(context).client() as client:
        if revoke:
            client.revoke_shares(track)
            return
        seconds = None if expires_in is None else _duration(expires_in, "--expires-in")
        print_line(client.share(track, seconds).url)


def usage(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="Of tracks requested since, such as 30d.")] = "30d",
    as_json: AsJson = False,
) -> None:
    """Show usage by key; needs the scope admin."""
    with session_of(context).client() as client:
        keys = client.usage(created_after=time.time() - _duration(since, "--since")).keys
    if as_json:
        for key in keys:
            print_json(key.model_dump(exclude_unset=True))
        return
    rows = [
        (key.key_id, str(key.tracks), str(key.completed), str(key.failed), f"{key.audio_seconds / 60:.1f}",
         f"{key.processing_seconds / 60:.1f}")
        for key in keys
    ]  # fmt: skip
    print_table(("KEY", "TRACKS", "COMPLETED", "FAILED", "AUDIO MIN", "WORK MIN"), rows)


def _duration(text: str, option: str) -> int:
    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
