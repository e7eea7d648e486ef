"""`separate`, `watch`, `wait` and `download`: what takes time, for several tracks at once."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from stemyard_cli.boards import board
from stemyard_cli.configuration import Configuration
from stemyard_cli.durations import seconds_of
from stemyard_cli.exit_codes import ExitCode, sentence
from stemyard_cli.output import print_json, print_line, say
from stemyard_cli.separations import AT_ONCE, Item, Wishes, separate_all, source_of
from stemyard_cli.session import Session, session_of
from stemyard_cli.uploads_begun import UploadsBegun, state_file
from stemyard_client import Options, StemyardError

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the stems.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print each result as JSON on one line.")]
Timeout = Annotated[str | None, typer.Option(help="Longest wait for each, such as 30m; it goes on afterwards.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
Tracks = Annotated[list[str], typer.Argument(metavar="TRACK_ID")]


def separate(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(metavar="QUERY|URL|FILE", help="What to separate.")],
    out: Out = None,
    stems: Annotated[str | None, typer.Option(help="Stems, with commas, such as vocals,drums.")] = None,
    audio_format: Annotated[str | None, typer.Option("--format", help="mp3, flac, wav, m4a or opus.")] = None,
    bitrate: Annotated[int | None, typer.Option(help="Kilobits per second of mp3, m4a and opus.")] = None,
    model: Annotated[str | None, typer.Option(help="One of the models of `stemyard config`.")] = None,
    quality: Annotated[str | None, typer.Option(help="fast, balanced or best.")] = None,
    priority: Annotated[int | None, typer.Option(help="Waiting separations of higher priority start first.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Separate again even if a result exists.")] = False,
    query: Annotated[bool, typer.Option("--query", help="The arguments are words to search by.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only request it, and print the track id.")] = False,
    timeout: Timeout = None,
    force: Force = False,
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=64, help="Sources worked on at once.")] = AT_ONCE,
    as_json: AsJson = False,
) -> None:
    """Separate files, links or search results with an installation, and save the stems."""
    session = session_of(context)
    settings = session.required()
    given = {
        "stems": [stem.strip() for stem in stems.split(",")] if stems else None,
        "format": audio_format,
        "bitrate": bitrate,
        "model": model,
        "quality": quality,
        "priority": priority,
        "cache": "refresh" if refresh else None,
    }
    options = cast(Options, {name: value for name, value in given.items() if value is not None})
    try:
        items = [Item(source_of(source, query=query)) for source in sources]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    wishes = Wishes(options, _folder(out, settings), not no_wait, _seconds(timeout), force, at_once)
    _finish(session, items, wishes, as_json=as_json)


def watch(
    context: typer.Context,
    tracks: Tracks,
    out: Out = None,
    timeout: Timeout = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of tracks until they end; with --out also save their stems."""
    wishes = Wishes({}, out, True, _seconds(timeout), force)
    _finish(session_of(context), [Item(track, track_id=track) for track in tracks], wishes, as_json=as_json)


def wait(context: typer.Context, tracks: Tracks, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Wait in silence until tracks end; the exit code says whether all are completed."""
    wishes = Wishes({}, None, True, _seconds(timeout))
    items = [Item(track, track_id=track) for track in tracks]
    _finish(session_of(context), items, wishes, as_json=as_json, quiet=True)


def download(
    context: typer.Context, tracks: Tracks, out: Out = None, force: Force = False, as_json: AsJson = False
) -> None:
    """Save the stems of tracks; an interrupted download is continued."""
    session = session_of(context)
    wishes = Wishes({}, _folder(out, session.required()), True, None, force)
    _finish(session, [Item(track, track_id=track) for track in tracks], wishes, as_json=as_json)


def _folder(out: Path | None, settings: Configuration) -> Path:
    return out or Path(settings.out or ".")


def _seconds(timeout: str | None) -> float | None:
    try:
        return None if timeout is None else float(seconds_of(timeout))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None


def _finish(session: Session, items: Sequence[Item], wishes: Wishes, *, as_json: bool, quiet: bool = False) -> None:
    """Work on the items, print what became of them, and exit with the first error's code."""

    async def work() -> None:
        uploads = UploadsBegun(state_file(os.environ), session.required().url)
        with board(quiet=quiet) as shown:
            async with session.async_client() as client:
                await separate_all(client, items, wishes, uploads, shown)

    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        _interrupted(session, items)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    for item in items:
        _print(item, wishes, as_json=as_json)
    raise typer.Exit(next((item.code for item in items if item.code is not ExitCode.OK), ExitCode.OK))


def _print(item: Item, wishes: Wishes, *, as_json: bool) -> None:
    if as_json:
        print_json(item.to_json())
    elif item.files:
        for path in item.files.values():
            print_line(str(path))
    elif not wishes.wait and item.track_id:
        print_line(item.track_id)


def _is_to_be_cancelled(number: int) -> bool:
    text = f"{number} separation(s) go on in the service. Cancel?"
    try:
        return typer.confirm(text, default=False, err=True)
    except typer.Abort:  # Ctrl-C again, or the end of the input
        return False


def _interrupted(session: Session, items: Sequence[Item]) -> None:
    """Ask on a terminal whether what goes on in the service is to be cancelled; elsewhere let it go on."""
    running = [item for item in items if item.track_id and item.job is not None and not item.job.ended]
    if not running:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        say("interrupted; the separations go on")
    elif _is_to_be_cancelled(len(running)):
        with session.client() as client:
            for item in running:
                try:
                    client.cancel(item.track_id)
                except StemyardError as error:
                    say(f"{item.name}: {sentence(error)}")
        return
    say(f"continue with: stemyard watch {' '.join(item.track_id for item in running)}")
