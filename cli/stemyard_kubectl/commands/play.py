"""`play`: the stems of a separation, which the installation's API gives links to."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from stemyard_cli.configuration import ConfigurationError
from stemyard_cli.output import print_line, say
from stemyard_client import Client, NotFoundError
from stemyard_contract.separationjob import Phase
from stemyard_kubectl.errors import NotPossibleError
from stemyard_kubectl.separations import Separation
from stemyard_kubectl.settings import cluster_of, settings_of

_PLAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "mpv": ("--no-video",),
    "ffplay": ("-autoexit", "-nodisp", "-loglevel", "error"),
    "cvlc": ("--play-and-exit", "--quiet"),
    "afplay": (),
}
"""Programs that play a file of any of our formats, with the arguments for it; the first that is there is used."""


def play(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a completed SeparationJob.")],
    stem: Annotated[list[str] | None, typer.Option(help="Only this stem; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Keep the files here.")] = None,
    links: Annotated[bool, typer.Option("--links", help="Only print links.")] = False,
) -> None:
    """Download the stems and play them, or print links to them where nothing can play.

    The cluster only knows the objects' keys: files and links come from the API of `stemyard login` or STEMYARD_URL.
    """
    with cluster_of(context) as cluster:
        one = Separation.of(cluster.separation(name))
    if one.phase is not Phase.COMPLETED or one.status.result is None:
        raise NotPossibleError(f"{name} has no stems: it is {one.phase or 'not read by an operator yet'}.")
    keys = {str(each): stored.key for each, stored in one.status.result.stems.items()}
    wanted = stem or list(keys)
    if unknown := set(wanted) - set(keys):
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(keys)}")
    try:
        client = settings_of(context).session.client()
    except ConfigurationError:
        for each in wanted:
            print_line(f"{each}\t{keys[each]}")
        raise NotPossibleError(
            "No installation is configured, so these are only the objects' keys in the bucket. "
            "Run `stemyard login`, or set STEMYARD_URL and STEMYARD_API_KEY."
        ) from None
    with client:
        _play(client, one, wanted, out, links=links)


def _play(client: Client, one: Separation, wanted: list[str], out: Path | None, *, links: bool) -> None:
    player = next((program for program in _PLAYERS if shutil.which(program)), None)
    track = one.status.track_id or f"{one.namespace}.{one.name}"
    try:
        if links or (out is None and (player is None or not sys.stdout.isatty())):
            found = client.job(track).links
            for each in wanted:
                print_line(f"{each}\t{found[each]}")
            return
        with tempfile.TemporaryDirectory(prefix="stemyard-") as folder:
            files = client.download(track, out or Path(folder), wanted)
            if out is not None:
                for path in files.values():
                    print_line(str(path))
            if player is not None and sys.stdout.isatty():
                _listen(player, files)
    except NotFoundError:
        raise NotPossibleError(
            f"The API key does not see {one.namespace}/{one.name}: use one of the scope admin, or one whose entry "
            f"names the namespace {one.namespace}."
        ) from None


def _listen(player: str, files: Mapping[str, Path]) -> None:
    """Play files one after the other; Ctrl-C ends it."""
    for stem, path in files.items():
        say(f"{stem}: {path.name}")
        subprocess.run([player, *_PLAYERS[player], str(path)], check=False)  # noqa: S603 - a fixed program and our file
