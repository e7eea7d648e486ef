"""`python -m stemyard_separator` runs the stage that the Assignment names; `run` and `--self-test` need none."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, MarkReference, Outcome, WorkStage
from stemyard_separator.desk import Desk
from stemyard_separator.errors import ConfigurationError, StageError
from stemyard_separator.http import HttpClient
from stemyard_separator.lame import prefer_optimised_lame
from stemyard_separator.logs import log, log_failure, start_logging
from stemyard_separator.progress import Reporter
from stemyard_separator.settings import Settings
from stemyard_separator.signals import stop_on_sigterm
from stemyard_separator.stage import Stage
from stemyard_separator.store import Store

_CONFIG_EXIT: Final = FAILURES[FailureCode.INTERNAL_CONFIG].exit_code


def main() -> int:
    """Run one stage, or what the command line says; return the exit code of the failure table."""
    prefer_optimised_lame()
    if sys.argv[1:2] == ["run"]:
        from stemyard_separator.local import run_locally

        return run_locally(sys.argv[2:])
    if sys.argv[1:] == ["--self-test"]:
        from stemyard_separator.self_test import self_test

        return self_test()
    stop_on_sigterm()
    start_logging()
    try:
        settings = Settings.from_environment(os.environ)
        assignment = _assignment(settings)
    except (ValidationError, ConfigurationError) as error:
        log_failure("misconfigured", reason=_reason(error))
        return _CONFIG_EXIT
    start_logging(stage=assignment.stage, track_id=assignment.track_id, run=assignment.run)
    return _leave(run_stage(assignment, settings), settings)


def run_stage(assignment: Assignment, settings: Settings) -> Outcome:
    """Run a stage to its end, good or bad."""
    log("started", model=assignment.model)
    try:
        mark = _run(assignment, settings)
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


def _run(assignment: Assignment, settings: Settings) -> MarkReference:
    http = HttpClient()
    desk = Desk(assignment.desk_url, settings.token_path, http)
    folder = Path(tempfile.mkdtemp(dir=settings.work_dir))
    try:
        with Reporter(assignment.stage, desk) as reporter:
            stage = Stage(assignment, settings, http, Store(desk, http), reporter, folder)
            return _run_named(stage)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_named(stage: Stage) -> MarkReference:
    # each stage imports only what it needs: fetch no network runtime, separate no downloader
    if stage.assignment.stage is WorkStage.FETCH:
        from stemyard_separator.fetch import fetch

        return fetch(stage)
    from stemyard_separator.loading import load_meanwhile

    loading = load_meanwhile(stage)
    from stemyard_separator.separate import separate

    return separate(stage, loading)


def _assignment(settings: Settings) -> Assignment:
    if not settings.assignment or not settings.pod_uid:
        raise ConfigurationError("STEMYARD_ASSIGNMENT and STEMYARD_POD_UID must be set.")
    return Assignment.model_validate_json(settings.assignment)


def _reason(error: ValidationError | ConfigurationError) -> str:
    if isinstance(error, ConfigurationError):
        return error.message
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


def _code_of(error: Exception) -> FailureCode:
    if isinstance(error, MemoryError):
        return FailureCode.OUT_OF_MEMORY
    return FailureCode.INTERNAL_IO if isinstance(error, OSError) else FailureCode.INTERNAL


def _leave(outcome: Outcome, settings: Settings) -> int:
    """Write the Outcome where kubelet reads it; return the exit code that says the same."""
    try:
        settings.termination_path.write_text(outcome.dump())
    except OSError:
        log_failure("no termination message", unexpected=True)
    return FAILURES[outcome.code].exit_code if outcome.code else 0


if __name__ == "__main__":
    sys.exit(main())
