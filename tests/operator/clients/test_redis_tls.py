"""Redis over TLS in operator and API, with a real Valkey that speaks it: an authority is trusted only if configured."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.certificates import Authority
from stemyard_api.clients.redis import RedisClient as ApiRedisClient
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from tests.api.settings_for_tests import settings as api_settings
from tests.operator.clients.test_redis import TRACK, record
from tests.operator.world import settings as operator_settings
from tests.support.valkey_tls import TlsValkey, tls_valkey

REFUSED = (
    "its certificate is refused ({}): REDIS_CA_FILE must have the CA that signed it, "
    "and REDIS_URL a host name that it is for"
)
NOT_SIGNED = REFUSED.format("unable to get local issuer certificate")
NOT_FOR_IT = REFUSED.format("IP address mismatch, certificate is not valid for '127.0.0.1'")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsValkey]:
    with tls_valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> str:
    """File of an authority that has signed nothing here."""
    authority = Authority(tmp_path)
    authority.create()
    return str(authority.certificate)


def mirror_of(url: str, ca_file: str | None) -> RedisClient:
    """The operator's client, as its settings configure it."""
    return RedisClient(operator_settings(redis_url=url, redis_ca_file=ca_file).redis_address, "install")


def store_of(url: str, ca_file: str | None) -> ApiRedisClient:
    """The API's client, as its settings configure it."""
    address = api_settings(redis_url=url, redis_ca_file=ca_file).redis_address
    assert address is not None
    return ApiRedisClient(address, MirrorKeys("install"))


async def test_the_configured_authority_is_trusted(valkey: TlsValkey) -> None:
    """The API reads through TLS what the operator wrote."""
    file = str(valkey.authority.certificate)
    mirror, store = mirror_of(valkey.url, file), store_of(valkey.url, file)
    assert await mirror.put(record())
    await store.ping()
    assert (await store.read(TRACK)).record == record()
    assert mirror.up
    await mirror.close()
    await store.close()


@pytest.mark.parametrize("configured", ["none", "another"])
async def test_an_unknown_authority_is_not_trusted(
    valkey: TlsValkey, stranger: str, configured: str, caplog: pytest.LogCaptureFixture
) -> None:
    await check_refusal(valkey.url, stranger if configured == "another" else None, NOT_SIGNED, caplog)


async def test_a_certificate_for_another_host_is_refused(valkey: TlsValkey, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = valkey.url.replace("localhost", "127.0.0.1")
    await check_refusal(elsewhere, str(valkey.authority.certificate), NOT_FOR_IT, caplog)


async def check_refusal(url: str, file: str | None, sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    """Both refuse the connection and say why: the operator by its error, which is logged, and the API in its log."""
    mirror, store = mirror_of(url, file), store_of(url, file)
    with pytest.raises(MirrorError) as refused:
        await mirror.tracks()
    assert str(refused.value) == f"Redis: {sentence}"
    with pytest.raises(RedisUnavailableError), caplog.at_level(logging.WARNING, "stemyard_api"):
        await store.ping()
    assert [vars(record)["cause"] for record in caplog.records if record.message == "Redis does not respond"] == [
        sentence
    ]
    await mirror.close()
    await store.close()


async def test_plain_text_gets_no_answer(valkey: TlsValkey) -> None:
    plain = valkey.url.replace("rediss:", "redis:")
    mirror, store = mirror_of(plain, None), store_of(plain, None)
    with pytest.raises(MirrorError):
        await mirror.tracks()
    with pytest.raises(RedisUnavailableError):
        await store.ping()
    await mirror.close()
    await store.close()
