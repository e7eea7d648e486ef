"""`python -m stemyard_operator` runs one replica of the operator."""

import asyncio
import contextlib
import logging
import sys

import uvloop

from stemyard_operator import logs
from stemyard_operator.errors import OperatorError
from stemyard_operator.manager import run


def main() -> int:
    """Run until a signal ends the process; return its exit code."""
    logs.configure()
    code = 0
    try:
        with contextlib.suppress(asyncio.CancelledError):
            uvloop.run(run())
    except* OperatorError as group:
        code = 1
        logging.getLogger(__name__).critical("ended: %s", "; ".join(map(str, _leaves(group))))
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
