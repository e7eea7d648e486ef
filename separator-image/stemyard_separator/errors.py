"""Errors that end a stage, one per row of the failure table; their messages never contain links or tokens."""

import re
from typing import Final

from stemyard_contract.failures import FAILURES, FailureCode

_LINK: Final = re.compile(r"(https?://)(?:[^/\s@]*@)?([^/\s?#'\"<>]+)[^\s'\"<>]*")
_BEARER: Final = re.compile(r"\b(Bearer\s+|eyJ)[A-Za-z0-9._~+/=-]+")


def redact(text: str) -> str:
    """Return `text` with links reduced to their host and bearer tokens removed, safe to log."""
    return _BEARER.sub("[token]", _LINK.sub(r"\1\2/[...]", text))


class StageError(Exception):
    """The stage fails; `code` determines what the operator does next.

    Args:
        code: row of the failure table.
        detail: more than the row's sentence, for people: what exactly is wrong and, if possible, what to change.
        cause: what a library or the system said; it is only logged.
    """

    def __init__(self, code: FailureCode, detail: str = "", *, cause: str = "") -> None:
        self.code = code
        self.detail = redact(detail)
        self.cause = redact(cause)
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """Sentence of the failure table, followed by the detail."""
        sentence = FAILURES[self.code].sentence
        return f"{sentence} {self.detail}" if self.detail else sentence

    @property
    def exit_code(self) -> int:
        """Exit code of the process."""
        return FAILURES[self.code].exit_code


class SourceError(StageError):
    """The source is unavailable or cannot be separated."""


class ModelError(StageError):
    """The model cannot be loaded or produced invalid audio."""


class PublishError(StageError):
    """The desk or the object store failed."""


class LeaseLostError(StageError):
    """The worker does not hold its song any more: it was cancelled, suspended, deleted, or leased to another."""

    def __init__(self) -> None:
        super().__init__(FailureCode.CANCELLED)


class ConfigurationError(StageError):
    """The settings of the process or the Assignment are invalid."""

    def __init__(self, detail: str) -> None:
        super().__init__(FailureCode.INTERNAL_CONFIG, detail)
