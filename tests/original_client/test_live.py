"""The original service's client against a live service, named by LIVE_URL, LIVE_API_KEY and LIVE_QUERY.

LIVE_URL=http://localhost:5500 LIVE_API_KEY=... python -m pytest tests/original_client
"""

import os

import pytest

from tests.original_client.suite import OriginalClient, OriginalService


@pytest.fixture(scope="class")
def service() -> OriginalService:
    if "LIVE_URL" not in os.environ:
        pytest.skip("LIVE_URL names no live service")
    return OriginalService(
        url=os.environ["LIVE_URL"].rstrip("/"),
        api_key=os.environ.get("LIVE_API_KEY", ""),
        query=os.environ.get("LIVE_QUERY", "Song Title Artist"),
        missing=os.environ.get("LIVE_MISSING_QUERY"),
        patience=float(os.environ.get("LIVE_PATIENCE_SECONDS", "600")),
    )


class TestOriginalClient(OriginalClient):
    """Everything, over HTTP alone."""
