"""Runs one stage to its end, and says in an Outcome how it ended."""

import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, MarkReference, Outcome
from stemyard_separator.engines.protocol import Engine
from stemyard_separator.errors import StageError
from stemyard_separator.http import HttpClient
from stemyard_separator.logs import log, log_failure
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.context import StageContext
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.transfer.object_store import ObjectStore
from stemyard_separator.transfer.progress import ProgressReporter


def run_stage(assignment: Assignment, settings: SeparatorSettings, loading: "Future[Engine] | None") -> Outcome:
    """Run a stage to its end, good or bad.

    Args:
        assignment: what to do.
        settings: of this process.
        loading: the model's engine, once it is there; for separate only.
    """
    log("started", model=assignment.model)
    try:
        mark = _run(assignment, settings, loading)
    except StageError as error:
        log_failure("failed", code=error.code, reason=error.message)
        return Outcome(stage=assignment.stage, code=error.code, message=error.message)
    except Exception as error:  # noqa: BLE001 - the last word is due whatever happened
        code = _code_of(error)
        log_failure("failed", unexpected=True, code=code)
        message = f"{FAILURES[code].sentence} ({type(error).__name__})"
        return Outcome(stage=assignment.stage, code=code, message=message)
    log("succeeded")
    return Outcome(stage=assignment.stage, mark=mark)


def _run(assignment: Assignment, settings: SeparatorSettings, loading: "Future[Engine] | None") -> MarkReference:
    http = HttpClient()
    desk = DeskClient(assignment.desk_url, settings.token_path, http)
    folder = Path(tempfile.mkdtemp(dir=settings.work_dir))
    try:
        with ProgressReporter(assignment.stage, desk) as reporter:
            stage = StageContext(assignment, settings, http, ObjectStore(desk, http), reporter, folder)
            return _run_named(stage, loading)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_named(stage: StageContext, loading: "Future[Engine] | None") -> MarkReference:
    # each stage imports only what it needs: fetch no network runtime, separate no downloader
    if loading is None:
        from stemyard_separator.stages.fetch import fetch

        return fetch(stage)
    from stemyard_separator.stages.separate import separate

    return separate(stage, loading)


def _code_of(error: Exception) -> FailureCode:
    if isinstance(error, MemoryError):
        return FailureCode.OUT_OF_MEMORY
    return FailureCode.INTERNAL_IO if isinstance(error, OSError) else FailureCode.INTERNAL
