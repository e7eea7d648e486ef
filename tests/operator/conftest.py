"""A Valkey for each module that asks for one."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.servers import Server, valkey


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with valkey(tmp_path_factory.mktemp("valkey")).running() as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of the server, emptied."""
    with redis.Redis(port=server.port, decode_responses=True) as found:
        found.flushall()
        yield found
