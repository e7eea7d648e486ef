"""The original service's client before the whole system; YouTube itself is stood in for."""

import uuid

import pytest

from tests.cluster.conftest import System
from tests.original_client.suite import OriginalClient, OriginalService

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="class")
def service(system: System) -> OriginalService:
    return OriginalService(
        system.service.url,
        system.service.api_key,
        # a system that was left running knows what an earlier run asked for
        query=f"The Stand-ins - Loopback Blues {uuid.uuid4().hex[:8]}",
        missing="zero hits",
    )


class TestOriginalClient(OriginalClient):
    """Everything but notifications, which the tests of webhooks bring a consumer for."""
