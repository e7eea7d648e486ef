"""Runs one stage and returns its Outcome."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, Finished, MarkReference, Outcome
from stemyard_separator.errors import StageError
from stemyard_separator.http import HttpClient
from stemyard_separator.logs import log, log_failure
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.context import StageContext
from stemyard_separator.stages.model_loading import Loading
from stemyard_separator.stages.timings import process_age
from stemyard_separator.transfer.deadline import StageDeadline
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.transfer.object_store import ObjectStore
from stemyard_separator.transfer.progress import ProgressReporter


@dataclass(frozen=True, slots=True)
class StageOptions:
    """What differs between a pod's only stage and a worker's song.

    Attributes:
        http: client of the desk and the object store.
        deadline: until when the desk and the object store are waited for.
        desk: client of the desk.
        heartbeat_seconds: progress is reported again after so long without any; None if only its changes are.
        age: returns the seconds since the process began, or since the song was leased.
    """

    http: HttpClient
    deadline: StageDeadline
    desk: DeskClient
    heartbeat_seconds: float | None = None
    age: Callable[[], float] = process_age


def run_stage(
    assignment: Assignment, settings: SeparatorSettings, loading: Loading | None, options: StageOptions | None = None
) -> Outcome:
    """Run a stage; return its Outcome, success or failure.

    Args:
        assignment: what to do.
        settings: settings of the process.
        loading: the engine being loaded; for separate only.
        options: None for a pod's only stage.
    """
    log("stage started", model=assignment.model, process_seconds=round(process_age(), 3))
    try:
        mark = _run(assignment, settings, loading, options or _of_pod(assignment, settings))
    except StageError as error:
        log_failure("stage failed", code=error.code, reason=error.message, cause=error.cause)
        return Outcome(stage=assignment.stage, code=error.code, message=error.message)
    except Exception as error:  # noqa: BLE001 - every failure needs an Outcome
        code = _code_of(error)
        log_failure("stage failed", unexpected=True, code=code)
        return Outcome(stage=assignment.stage, code=code, message=FAILURES[code].sentence)
    log("stage succeeded")
    return Outcome(stage=assignment.stage, mark=mark)


def _of_pod(assignment: Assignment, settings: SeparatorSettings) -> StageOptions:
    http = HttpClient(ca_dir=settings.ca_dir)
    deadline = StageDeadline.of_pod(assignment.deadline_seconds, settings.token_path)
    return StageOptions(http, deadline, DeskClient(assignment.desk_url, settings.token_path, http, deadline))


def _run(
    assignment: Assignment, settings: SeparatorSettings, loading: Loading | None, options: StageOptions
) -> MarkReference:
    desk = options.desk
    folder = Path(tempfile.mkdtemp(dir=settings.work_dir))
    try:
        with ProgressReporter(assignment.stage, desk, options.heartbeat_seconds) as reporter:
            store = ObjectStore(desk, options.http, options.deadline)
            context = StageContext(assignment, settings, store, reporter, folder, options.age)
            mark = _dispatch(context, loading)
            log("commit mark written")
            desk.finish(Finished(stage=assignment.stage, mark=mark))
            return mark
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _dispatch(context: StageContext, loading: Loading | None) -> MarkReference:
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
