"""Runs one stage and returns its Outcome."""

import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, MarkReference, Outcome
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.errors import StageError
from stemyard_separator.http import HttpClient
from stemyard_separator.logs import log, log_failure
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.context import StageContext
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.transfer.object_store import ObjectStore
from stemyard_separator.transfer.progress import ProgressReporter


def run_stage(
    assignment: Assignment, settings: SeparatorSettings, loading: "Future[SeparationEngine] | None"
) -> Outcome:
    """Run a stage; return its Outcome, success or failure.

    Args:
        assignment: what to do.
        settings: settings of the process.
        loading: the engine being loaded; for separate only.
    """
    log("stage started", model=assignment.model)
    try:
        mark = _run(assignment, settings, loading)
    except StageError as error:
        log_failure("stage failed", code=error.code, reason=error.message)
        return Outcome(stage=assignment.stage, code=error.code, message=error.message)
    except Exception as error:  # noqa: BLE001 - every failure needs an Outcome
        code = _code_of(error)
        log_failure("stage failed", unexpected=True, code=code)
        message = f"{FAILURES[code].sentence} ({type(error).__name__})"
        return Outcome(stage=assignment.stage, code=code, message=message)
    log("stage succeeded")
    return Outcome(stage=assignment.stage, mark=mark)


def _run(
    assignment: Assignment, settings: SeparatorSettings, loading: "Future[SeparationEngine] | None"
) -> MarkReference:
    http = HttpClient()
    desk = DeskClient(assignment.desk_url, settings.token_path, http)
    folder = Path(tempfile.mkdtemp(dir=settings.work_dir))
    try:
        with ProgressReporter(assignment.stage, desk) as reporter:
            context = StageContext(assignment, settings, http, ObjectStore(desk, http), reporter, folder)
            return _dispatch(context, loading)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _dispatch(context: StageContext, loading: "Future[SeparationEngine] | None") -> MarkReference:
    # each stage imports only what it needs: fetch no network runtime, separate no downloader
    if loading is None:
        from stemyard_separator.stages.fetch import fetch

        return fetch(context)
    from stemyard_separator.stages.separate import separate

    return separate(context, loading)


def _code_of(error: Exception) -> FailureCode:
    if isinstance(error, MemoryError):
        return FailureCode.OUT_OF_MEMORY
    return FailureCode.INTERNAL_IO if isinstance(error, OSError) else FailureCode.INTERNAL
