"""`python -m stemyard_separator` runs the Assignment's stage; `run` and `--self-test` work without an Assignment."""

import os
import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, Outcome, WorkStage
from stemyard_contract.leasing import WorkerAssignment
from stemyard_contract.validation import error_lines
from stemyard_separator.audio.lame import preload_optimised_lame
from stemyard_separator.errors import ConfigurationError
from stemyard_separator.logs import log_failure, start_logging
from stemyard_separator.process import exit_on_sigterm, limit_blas_threads
from stemyard_separator.settings import SeparatorSettings

if TYPE_CHECKING:
    from stemyard_separator.engines.protocol import SeparationEngine

_CONFIG_EXIT: Final = FAILURES[FailureCode.INTERNAL_CONFIG].exit_code


def main() -> int:
    """Run one stage or one command; return the exit code of the failure table."""
    limit_blas_threads()
    preload_optimised_lame()
    if sys.argv[1:2] == ["run"]:
        from stemyard_separator.cli.run import run_locally

        return run_locally(sys.argv[2:])
    if sys.argv[1:] == ["--self-test"]:
        from stemyard_separator.cli.self_test import self_test

        return self_test()
    return _run_assignment()


def _run_assignment() -> int:
    exit_on_sigterm()
    start_logging()
    try:
        settings = SeparatorSettings.from_environment(os.environ)
        if settings.worker:
            return _run_worker(WorkerAssignment.model_validate_json(settings.worker), settings)
        assignment = _assignment(settings)
    except (ValidationError, ConfigurationError) as error:
        log_failure("invalid configuration", reason=_reason(error))
        return _CONFIG_EXIT
    start_logging(stage=assignment.stage, track_id=assignment.track_id, run=assignment.run)
    try:
        loading = _start_loading(assignment, settings)
        from stemyard_separator.stages.runner import run_stage  # while the model loads
    except ImportError as error:
        return _finish(_import_failed(assignment.stage, error), settings)
    return _finish(run_stage(assignment, settings, loading), settings)


def _run_worker(assignment: WorkerAssignment, settings: SeparatorSettings) -> int:
    start_logging(worker=assignment.shape)
    try:
        from stemyard_separator.stages.model_loading import start_loading

        engine = start_loading(assignment, settings)
        from stemyard_separator.worker.worker import Worker  # while the model loads
    except ImportError as error:
        return _finish(_import_failed(WorkStage.SEPARATE, error), settings)
    code = _finish(Worker(assignment, settings, engine).run(), settings)
    if code:
        # threads that may still use the engine must not outlive the interpreter's end
        sys.stdout.flush()
        os._exit(code)
    return code


def _start_loading(assignment: Assignment, settings: SeparatorSettings) -> "Future[SeparationEngine] | None":
    """Start to load the model, if the stage needs it, before the other imports, which take about as long."""
    if assignment.stage is WorkStage.FETCH:
        return None
    from stemyard_separator.stages.model_loading import start_loading

    return start_loading(assignment, settings)


def _import_failed(stage: WorkStage, error: ImportError) -> Outcome:
    """Return the Outcome of an image that lacks a library."""
    log_failure("stage failed", unexpected=True, code=FailureCode.INTERNAL)
    message = f"{FAILURES[FailureCode.INTERNAL].sentence} The separator's image lacks a library."
    return Outcome(stage=stage, code=FailureCode.INTERNAL, message=message)


def _assignment(settings: SeparatorSettings) -> Assignment:
    if not settings.assignment or not settings.pod_uid:
        raise ConfigurationError("STEMYARD_ASSIGNMENT and STEMYARD_POD_UID must be set.")
    return Assignment.model_validate_json(settings.assignment)


def _reason(error: ValidationError | ConfigurationError) -> str:
    if isinstance(error, ConfigurationError):
        return error.message
    return "; ".join(error_lines(error))


def _finish(outcome: Outcome, settings: SeparatorSettings) -> int:
    """Write the Outcome as the container's termination message; return its exit code."""
    try:
        settings.termination_path.write_text(outcome.dump())
    except OSError:
        log_failure("cannot write the termination message", unexpected=True)
    return FAILURES[outcome.code].exit_code if outcome.code else 0


if __name__ == "__main__":
    sys.exit(main())
