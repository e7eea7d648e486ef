"""Every way a stage can end badly: one error per failure of the table, and nothing that could leak a link."""

import re
from typing import Final

from stemyard_contract.failures import FAILURES, FailureCode

_LINK: Final = re.compile(r"(https?://)(?:[^/\s@]*@)?([^/\s?#'\"<>]+)[^\s'\"<>]*")
_BEARER: Final = re.compile(r"\b(Bearer\s+|eyJ)[A-Za-z0-9._~+/=-]+")


def redact(text: str) -> str:
    """Return `text` with links cut down to their host and bearer tokens removed, so that it may be logged."""
    return _BEARER.sub("[token]", _LINK.sub(r"\1\2/[...]", text))


class StageError(Exception):
    """A stage cannot go on; `code` decides what happens next.

    Args:
        code: row of the failure table.
        detail: what is known beyond the row's sentence; says what to change where there is something.
    """

    def __init__(self, code: FailureCode, detail: str = "") -> None:
        self.code = code
        self.detail = redact(detail)
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """Sentence for people: the table's, then the detail."""
        sentence = FAILURES[self.code].sentence
        return f"{sentence} {self.detail}" if self.detail else sentence

    @property
    def exit_code(self) -> int:
        """Exit code of the process."""
        return FAILURES[self.code].exit_code


class SourceError(StageError):
    """The source cannot be had, or is not what can be separated."""


class ModelError(StageError):
    """The model cannot be loaded or gave no usable audio."""


class PublishError(StageError):
    """Links, store or desk did not do what they should."""


class ConfigurationError(StageError):
    """The process was started with settings that cannot work."""

    def __init__(self, detail: str) -> None:
        super().__init__(FailureCode.INTERNAL_CONFIG, detail)
