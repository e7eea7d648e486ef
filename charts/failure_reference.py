"""Generates the page of all failure codes from the failure table and its remedies."""

from typing import Final

from stemyard_contract.failures import FAILURES, Failure, Stage
from stemyard_contract.remedies import REMEDIES, Fault

_HEAD: Final = """# Failure codes

<!-- Generated from stemyard_contract by `make generate`. Do not edit. -->

Every code that a response, a failed track, a condition (in CamelCase), a webhook or a metric can have. Codes
are never renamed or reused.

- **HTTP**: the status if a request itself fails with this code; a track that fails later is read with 200.
- **Retryable**: whether the same request may succeed later. The operator retries such stages by itself, up to
  `retryPolicy.limit`.
- **Exit**: the exit code of the separator, if it ends with this failure.
- **Fault**: {faults}.
"""
_FAULTS: Final = {
    Fault.CALLER: "the request, or what it names",
    Fault.SOURCE: "the site or server that the audio comes from",
    Fault.DEPLOYMENT: "configuration, capacity or a backend of the installation",
    Fault.STEMYARD: "probably a defect, if it happens again",
}
_STAGES: Final = {
    Stage.REQUEST: "The request",
    Stage.FETCH: "Fetch: getting the audio",
    Stage.SEPARATE: "Separate: running the model",
    Stage.PUBLISH: "Publish: storing the stems",
    Stage.CONTROL: "Any stage, and what only the operator observes",
}
_COLUMNS: Final = "| code | HTTP | retryable | exit | meaning | fault | what to do |\n|---|---|---|---|---|---|---|\n"


def failure_reference() -> str:
    """Return the page, in Markdown.

    Raises:
        ValueError: a code has no remedy.
    """
    if missing := [code for code in FAILURES if code not in REMEDIES]:
        raise ValueError(f"contract/stemyard_contract/remedies.py says nothing of {', '.join(missing)}")
    faults = "; ".join(f"*{fault}*, {_FAULTS[fault]}" for fault in Fault)
    parts = [_HEAD.format(faults=faults)]
    for stage in Stage:
        rows = [_row(failure) for failure in FAILURES.values() if failure.stage is stage]
        parts += [f"\n## {_STAGES[stage]}\n\n", _COLUMNS, *rows]
    return "".join(parts)


def _row(failure: Failure) -> str:
    remedy = REMEDIES[failure.code]
    cells = (
        f"`{failure.code}`",
        str(failure.http_status),
        _retries(failure),
        str(failure.exit_code or ""),
        failure.sentence,
        remedy.fault,
        remedy.action,
    )
    return f"| {' | '.join(cells)} |\n"


def _retries(failure: Failure) -> str:
    if not failure.retryable:
        return "no"
    pause = f", after {failure.least_pause_seconds / 60:.0f} min" if failure.least_pause_seconds else ""
    return "yes" + pause + (f", {failure.most_retries} time" if failure.most_retries else "")
