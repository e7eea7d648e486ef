"""Configures logging: one JSON object per line, on standard error."""

import logging
from typing import Final

from stemyard_contract.runtime import JsonLines

_QUIET: Final = ("botocore", "boto3", "urllib3", "aiohttp.access", "asyncio", "httpx", "httpcore")


def configure() -> None:
    """Format all logs with JsonLines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
