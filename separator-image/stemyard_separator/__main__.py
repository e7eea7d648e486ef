"""`python -m stemyard_separator` runs the stage that the Assignment names; `run` and `--self-test` need none."""

import os
import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, Outcome, WorkStage
from stemyard_contract.validation import error_lines
from stemyard_separator.audio.lame import prefer_optimised_lame
from stemyard_separator.errors import ConfigurationError
from stemyard_separator.logs import log_failure, start_logging
from stemyard_separator.process import leave_cores_to_networks, stop_on_sigterm
from stemyard_separator.settings import Settings

if TYPE_CHECKING:
    from stemyard_separator.engines.protocol import Engine

_CONFIG_EXIT: Final = FAILURES[FailureCode.INTERNAL_CONFIG].exit_code


def main() -> int:
    """Run one stage, or what the command line says; return the exit code of the failure table."""
    leave_cores_to_networks()
    prefer_optimised_lame()
    if sys.argv[1:2] == ["run"]:
        from stemyard_separator.cli.run import run_locally

        return run_locally(sys.argv[2:])
    if sys.argv[1:] == ["--self-test"]:
        from stemyard_separator.cli.self_test import self_test

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
    try:
        loading = _loading(assignment, settings)
        from stemyard_separator.stages.runner import run_stage  # meanwhile
    except ImportError as error:
        return _leave(_broken(assignment, error), settings)
    return _leave(run_stage(assignment, settings, loading), settings)


def _loading(assignment: Assignment, settings: Settings) -> "Future[Engine] | None":
    """Begin to load the model before all else is imported, which takes about as long."""
    if assignment.stage is WorkStage.FETCH:
        return None
    from stemyard_separator.stages.model_loading import load_meanwhile

    return load_meanwhile(assignment, settings)


def _broken(assignment: Assignment, error: ImportError) -> Outcome:
    """Return the Outcome of an image that lacks what it needs."""
    log_failure("failed", unexpected=True, code=FailureCode.INTERNAL)
    message = f"The image is broken: {error}"
    return Outcome(stage=assignment.stage, code=FailureCode.INTERNAL, message=message)


def _assignment(settings: Settings) -> Assignment:
    if not settings.assignment or not settings.pod_uid:
        raise ConfigurationError("STEMYARD_ASSIGNMENT and STEMYARD_POD_UID must be set.")
    return Assignment.model_validate_json(settings.assignment)


def _reason(error: ValidationError | ConfigurationError) -> str:
    if isinstance(error, ConfigurationError):
        return error.message
    return "; ".join(error_lines(error))


def _leave(outcome: Outcome, settings: Settings) -> int:
    """Write the Outcome where kubelet reads it; return the exit code that says the same."""
    try:
        settings.termination_path.write_text(outcome.dump())
    except OSError:
        log_failure("no termination message", unexpected=True)
    return FAILURES[outcome.code].exit_code if outcome.code else 0


if __name__ == "__main__":
    sys.exit(main())
