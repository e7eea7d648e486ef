"""Logs as one JSON object a line, on standard error."""

import logging
from typing import Final

from stemyard_contract.runtime import JsonLines

_QUIET: Final = ("botocore", "boto3", "urllib3", "aiohttp.access", "asyncio", "httpx", "httpcore")


def configure() -> None:
    """Send all logs through JsonLines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
