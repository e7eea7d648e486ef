"""Separates files on this machine; nothing is imported that a song with its weights here does not need."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stemyard_cli.interruption import EXIT_CODE, raise_again
from stemyard_contract.models import MODELS
from stemyard_separator.process import limit_blas_threads

PROGRAM: Final = "stemyard run"


def run_files(arguments: Sequence[str]) -> int:
    """Separate files; return the exit code of the first failure, or 0."""
    limit_blas_threads()  # before numpy is imported
    from stemyard_separator.audio.lame import preload_optimised_lame
    from stemyard_separator.cli.arguments import parse
    from stemyard_separator.models.catalogue import SPLEETER
    from stemyard_separator.models.folder import has_model

    options = parse(arguments, PROGRAM)
    preload_optimised_lame()
    if problem := _missing_engine(options.model):
        _say(problem)
        return 2
    if options.model == SPLEETER and not has_model(options.model_dir, SPLEETER):
        code = _fetch_weights(options.files, options.model_dir)
        if code:
            return code
    from stemyard_separator.cli.run import run_locally

    return run_locally(arguments, PROGRAM)


def _missing_engine(model: str) -> str:
    """Return what to install for a model whose engine is not here; empty if it is."""
    if MODELS[model].engine == "spleeter" or importlib.util.find_spec("torch") is not None:
        return ""
    return f"{model} needs torch: install stemyard with the extras cli and cuda, for example stemyard[cli,cuda]."


def _fetch_weights(files: Sequence[Path], folder: Path) -> int:
    """Fetch the default model's weights if a file is there to separate; return the exit code."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from stemyard_cli.output import err
    from stemyard_cli.weights import fetch_weights
    from stemyard_separator.cli.inputs import LINK_SENTENCE, is_link
    from stemyard_separator.errors import StageError
    from stemyard_separator.models.catalogue import SPLEETER

    if missing := [path for path in files if not path.exists()]:
        _say(f"{missing[0]}: {LINK_SENTENCE if is_link(missing[0]) else 'No such file or directory'}")
        return 1
    _say(f"Fetching the weights of {SPLEETER} into {folder}, once.")
    columns = TextColumn("weights"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    try:
        raise_again()
        with Progress(*columns, console=err(), disable=not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task("weights", total=None)
            fetch_weights(folder, lambda done, size: progress.update(task, completed=done, total=size))
    except StageError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _say("stopped; the same command goes on with the download")
        return EXIT_CODE
    return 0


def _say(text: str) -> None:
    from stemyard_cli.output import say

    say(text)
