"""What `doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        check: what was looked at.
        verdict: how it is.
        detail: what was found.
        advice: what to do; empty if nothing.
    """

    check: str
    verdict: Verdict
    detail: str
    advice: str = ""
