"""`run`: separates files on this machine, without any installation or cluster."""

import importlib.util
import sys
from collections.abc import Sequence

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from stemyard_cli.output import err, say
from stemyard_contract.models import MODELS
from stemyard_separator.process import limit_blas_threads

PROGRAM = "stemyard run"


def run(context: typer.Context) -> None:
    """Separate audio files on this machine; no installation, no cluster, no key.

    The weights of the default model (88 MB) are fetched once. `stemyard run --help` lists all options.
    """
    raise typer.Exit(run_files(context.args))


def run_files(arguments: Sequence[str]) -> int:
    """Separate files; return the exit code of the first failure, or 0."""
    limit_blas_threads()  # before numpy is imported
    from stemyard_separator.audio.lame import preload_optimised_lame
    from stemyard_separator.cli.arguments import parse

    options = parse(arguments, PROGRAM)
    preload_optimised_lame()
    if problem := _missing_engine(options.model):
        say(problem)
        return 2
    from stemyard_cli.weights import fetch_weights, has_weights
    from stemyard_separator.cli.inputs import LINK_SENTENCE, is_link
    from stemyard_separator.cli.run import run_locally
    from stemyard_separator.errors import StageError
    from stemyard_separator.models.catalogue import SPLEETER

    if options.model == SPLEETER and not has_weights(options.model_dir):
        if missing := [path for path in options.files if not path.exists()]:
            say(f"{missing[0]}: {LINK_SENTENCE if is_link(missing[0]) else 'No such file or directory'}")
            return 1
        say(f"Fetching the weights of {SPLEETER} into {options.model_dir}, once.")
        columns = TextColumn("weights"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        try:
            with Progress(*columns, console=err(), disable=not sys.stderr.isatty(), transient=True) as progress:
                task = progress.add_task("weights", total=None)
                fetch_weights(options.model_dir, lambda done, size: progress.update(task, completed=done, total=size))
        except StageError as error:
            say(str(error))
            return error.exit_code
    return run_locally(arguments, PROGRAM)


def _missing_engine(model: str) -> str:
    """Return what to install for a model whose engine is not here; empty if it is."""
    if MODELS[model].engine == "spleeter" or importlib.util.find_spec("torch") is not None:
        return ""
    return f"{model} needs torch: install stemyard with the extras cli and cuda, for example stemyard[cli,cuda]."
