"""The object store over TLS, as the chart runs it: each part trusts its authority only if that is configured."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.certificates import Authority
from localcluster.control_plane import free_port
from localcluster.folders import here
from localcluster.tools import path_of
from stemyard_api.clients.s3 import ObjectStoreClient as ApiObjectStoreClient
from stemyard_api.clients.s3 import ObjectStoreUnavailableError
from stemyard_api.settings import Settings as ApiSettings
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.errors import ObjectStoreError
from stemyard_separator.http import HttpClient, HttpError
from tests.operator.world import settings
from tests.support.servers import Server

KEYS = {"r2_access_key_id": "access", "r2_secret_access_key": "secret-key"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.create()
    return made


@pytest.fixture(scope="module")
def url(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """versitygw with the flags of the chart."""
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    (folder / "data").mkdir()
    pair = authority.for_server("store", ["127.0.0.1"], ["localhost"])
    tls = ["--cert", str(pair.certificate), "--key", str(pair.key)]
    command = [str(path_of("versitygw", here())), "--port", f"127.0.0.1:{port}", "--health", "/health", "--quiet", *tls]
    keys = {"ROOT_ACCESS_KEY": KEYS["r2_access_key_id"], "ROOT_SECRET_KEY": KEYS["r2_secret_access_key"]}
    with Server("versitygw", [*command, "posix", "data"], port, folder, keys).running():
        yield f"https://127.0.0.1:{port}"


def operators(url: str, ca_file: Path | None) -> ObjectStoreClient:
    ca = str(ca_file) if ca_file is not None else None
    return ObjectStoreClient(settings(s3_endpoint_url=url, s3_region="us-east-1", s3_ca_file=ca, **KEYS))


def apis(url: str, ca_file: Path | None, monkeypatch: pytest.MonkeyPatch) -> ApiObjectStoreClient:
    given = {"STEMYARD_INSTALL_ID": "install-1", "STEMYARD_NAMESPACE": "music", "STEMYARD_INSECURE_DEV": "true"}
    given |= {"S3_ENDPOINT_URL": url, "S3_REGION": "us-east-1", "S3_CA_FILE": str(ca_file or "")}
    for name, value in {**given, **{name.upper(): value for name, value in KEYS.items()}}.items():
        monkeypatch.setenv(name, value)
    return ApiObjectStoreClient(ApiSettings())


async def test_operator_api_and_separator_trust_the_configured_authority(
    url: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, api = operators(url, authority.certificate), apis(url, authority.certificate, monkeypatch)
    await operator.prepare()
    await api.ping()
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "cas").mkdir()
    shutil.copy(authority.certificate, tmp_path / "cas" / "store.crt")
    separator = HttpClient(ca_dir=tmp_path / "cas")
    headers = {"Content-Length": "5", "Content-Type": "audio/flac"}
    assert separator.put_file(operator.write_link("a", 60, headers), tmp_path / "file", headers).is_success
    assert await operator.get("a", 5) == b"12345"
    assert await api.size("a") == 5
    separator.close()
    api.close()
    await operator.close()


async def test_an_unknown_authority_is_not_trusted(
    url: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority(tmp_path / "stranger")
    stranger.create()
    for ca_file in (None, stranger.certificate):
        operator, api = operators(url, ca_file), apis(url, ca_file, monkeypatch)
        with pytest.raises(ObjectStoreError, match="certificate"):
            await operator.get("a", 5)
        with pytest.raises(ObjectStoreError, match="SSL"):
            await operator.copy("a", "b")
        with pytest.raises(ObjectStoreUnavailableError):
            await api.ping()
        api.close()
        await operator.close()
    separator = HttpClient()
    with pytest.raises(HttpError), separator.stream(url + "/health", {}):
        pytest.fail("served")
    separator.close()
