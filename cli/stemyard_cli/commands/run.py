"""`run`: separates files on this machine, without any installation or cluster."""

import typer

from stemyard_cli.local_run import run_files


def run(context: typer.Context) -> None:
    """Separate audio files on this machine; no installation, no cluster, no key.

    The weights of the default model (88 MB) are fetched once. `stemyard run --help` lists all options.
    """
    raise typer.Exit(run_files(context.args))
