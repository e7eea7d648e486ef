"""The seed's client against any live service: SEED_URL and SEED_API_KEY say which; SEED_QUERY what to ask for.

SEED_URL=http://localhost:5500 SEED_API_KEY=... python -m pytest tests/seed_client
"""

import os

import pytest

from tests.seed_client.suite import SeedClient, SeedService


@pytest.fixture(scope="class")
def seed() -> SeedService:
    if "SEED_URL" not in os.environ:
        pytest.skip("SEED_URL names no live service")
    return SeedService(
        url=os.environ["SEED_URL"].rstrip("/"),
        api_key=os.environ.get("SEED_API_KEY", ""),
        query=os.environ.get("SEED_QUERY", "Song Title Artist"),
        missing=os.environ.get("SEED_MISSING_QUERY"),
        patience=float(os.environ.get("SEED_PATIENCE_SECONDS", "600")),
    )


class TestSeedClient(SeedClient):
    """Everything, over HTTP alone."""
