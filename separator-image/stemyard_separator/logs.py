"""Logs: one JSON object per line on standard output, in the schema of all parts, without links and tokens."""

import logging
import sys
import threading
from collections.abc import Mapping
from typing import Final

from stemyard_contract.runtime import JsonLines
from stemyard_separator.errors import redact

_LOGGER: Final = logging.getLogger("stemyard_separator")

_thread: Final = threading.local()


class _RedactedLines(JsonLines):
    """Formats a log record as JSON with the context of the stage; links and tokens are redacted."""

    def __init__(self, context: Mapping[str, object]) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        vars(record).update({**self._context, **getattr(_thread, "context", {})})
        return redact(super().format(record))


def start_logging(**context: object) -> None:
    """Log to standard output from now on; every line has the fields of `context`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_RedactedLines(context))
    _LOGGER.handlers = [handler]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log_with(**context: object) -> None:
    """Add these fields to every line that this thread logs from now on."""
    _thread.context = context


def log(message: str, **fields: object) -> None:
    """Log an event with its fields."""
    _LOGGER.info(message, extra=fields)


def log_failure(message: str, *, unexpected: bool = False, **fields: object) -> None:
    """Log a failure with its fields, and with the traceback if it is unexpected."""
    _LOGGER.error(message, extra=fields, exc_info=unexpected)
