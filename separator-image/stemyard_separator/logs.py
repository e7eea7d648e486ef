"""One JSON object per line on standard output, never with a link or a token in it."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Final

from stemyard_separator.errors import redact

_LOGGER: Final = logging.getLogger("stemyard_separator")


class _JsonLines(logging.Formatter):
    def __init__(self, context: Mapping[str, object]) -> None:
        super().__init__()
        self._context = dict(context)

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **self._context,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, default=str, ensure_ascii=False))


def start_logging(**context: object) -> None:
    """Log to standard output from now on; every line carries `context`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines(context))
    _LOGGER.handlers = [handler]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log(event: str, **fields: object) -> None:
    """Log that something happened."""
    _LOGGER.info(event, extra={"fields": fields})


def log_failure(event: str, *, unexpected: bool = False, **fields: object) -> None:
    """Log that something failed, with the traceback when nobody foresaw it."""
    _LOGGER.error(event, extra={"fields": fields}, exc_info=unexpected)
