"""Redis over TLS in operator and API: a private authority is trusted only if configured."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from localcluster.certificates import Authority
from stemyard_api.clients.redis import RedisClient as ApiRedisClient
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.runtime import with_authority
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from tests.support.servers import Server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.create()
    return made


@pytest.fixture
async def url(authority: Authority, server: Server) -> AsyncIterator[str]:
    """TLS termination in front of Valkey, whose wheel is built without TLS."""
    pair = authority.for_server("valkey", ["127.0.0.1"], ["localhost"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(_carry(reader, inner_writer), _carry(inner_reader, writer))

    door = await asyncio.start_server(enter, "127.0.0.1", 0, ssl=context)
    async with door:
        yield f"rediss://127.0.0.1:{door.sockets[0].getsockname()[1]}/0"


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def test_the_operator_trusts_the_configured_authority(url: str, authority: Authority) -> None:
    mirror = RedisClient(with_authority(url, str(authority.certificate)), "install")
    assert await mirror.tracks() == set()
    await mirror.close()


async def test_the_api_trusts_the_configured_authority(url: str, authority: Authority) -> None:
    store = ApiRedisClient(with_authority(url, str(authority.certificate)), MirrorKeys("install"))
    await store.ping()
    await store.close()


async def test_an_unknown_authority_is_not_trusted(url: str, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    stranger.create()
    for file in (None, str(stranger.certificate)):
        mirror, store = (
            RedisClient(with_authority(url, file), "install"),
            ApiRedisClient(with_authority(url, file), MirrorKeys("i")),
        )
        with pytest.raises(MirrorError, match="certificate"):
            await mirror.tracks()
        with pytest.raises(RedisUnavailableError):
            await store.ping()
        await mirror.close()
        await store.close()
