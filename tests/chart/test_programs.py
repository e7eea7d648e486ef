"""The bundled servers start with what the chart gives them, and their probes pass."""

import re
import shutil
import socket
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from redis import AuthenticationError, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from localcluster.certificates import Authority
from localcluster.control_plane import free_port
from localcluster.folders import here
from localcluster.tools import path_of
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.runtime import with_authority
from tests.chart.rendered import RELEASE, Object, case, container, environment, find
from tests.support.servers import Server
from tests.support.valkey_tls import program


def store(objects: list[Object], folder: Path) -> Server:
    """versitygw with the container's own arguments; only port and folder are of this machine."""
    port = free_port()
    here_instead = {":7070": f":{port}", "/data": str(folder)}
    arguments = [here_instead.get(argument, argument) for argument in container(objects, "store")["args"]]
    assert str(folder) in arguments
    assert f":{port}" in arguments
    program = str(path_of("versitygw", here()))
    return Server("store", [program, *arguments], port, folder.parent, environment(objects, "store"))


def test_the_store_keeps_objects_and_answers_its_probes(tmp_path: Path) -> None:
    objects = case("demo")
    data = tmp_path / "data"
    data.mkdir()
    variables = environment(objects, "api")
    with store(objects, data).running() as server:
        address = f"http://127.0.0.1:{server.port}"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container(objects, "store")[probe]["httpGet"]["path"]
            assert httpx.get(f"{address}{path}").status_code == 200
        client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id=variables["R2_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["R2_SECRET_ACCESS_KEY"],
            region_name=variables["S3_REGION"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket=variables["R2_BUCKET"])
        client.put_object(Bucket=variables["R2_BUCKET"], Key="a/b", Body=b"stem")
        link = client.generate_presigned_url("get_object", Params={"Bucket": variables["R2_BUCKET"], "Key": "a/b"})
        assert httpx.get(link).content == b"stem"
        signature = re.search(r"X-Amz-Signature=(\w+)", link)
        assert signature
        assert signature[1] not in server.log.read_text()


def configured(objects: list[Object], folder: Path, here_instead: dict[str, str]) -> Path:
    """Write Valkey's files as the container finds them; only ports and folders are of this machine."""
    text = find(objects, "ConfigMap", f"{RELEASE}-valkey")["data"]["valkey.conf"]
    for there, instead in {"dir /data": f"dir {folder}", "/etc/valkey-users": str(folder), **here_instead}.items():
        assert there in text
        text = text.replace(there, instead)
    [argument] = container(objects, "valkey")["args"]
    configuration = folder / Path(argument).name
    configuration.write_text(text)
    (folder / "users.acl").write_text(find(objects, "Secret", f"{RELEASE}-redis")["stringData"]["users.acl"])
    return configuration


@pytest.mark.parametrize("name", ["demo", "kept"])
def test_valkey_takes_its_configuration_and_wants_its_password(name: str, tmp_path: Path) -> None:
    objects, port = case(name), free_port()
    secret = find(objects, "Secret", f"{RELEASE}-redis")["stringData"]
    configuration = configured(objects, tmp_path, {"port 6379": f"port {port}"})
    server = Server("valkey", [str(path_of("valkey-server", here())), str(configuration)], port, tmp_path)
    with server.running():
        url = re.sub(r"@[^/]+/", f"@127.0.0.1:{port}/", secret["REDIS_URL"])
        own = MirrorKeys(environment(objects, "api")["STEMYARD_INSTALL_ID"])
        with Redis.from_url(url) as client:
            assert client.set(own.record("t"), "value", ex=60)
            assert client.eval("return redis.call('GET', KEYS[1])", 1, own.record("t")) == b"value"
            assert client.publish(own.changes, "t") == 0
            for forbidden in (
                lambda: client.set("another:key", "value"),
                lambda: client.publish("another", "t"),
                client.flushall,
                client.config_get,
            ):
                with pytest.raises(NoPermissionError):
                    forbidden()
        assert (tmp_path / "appendonlydir").exists() == (name == "kept")
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.get("key")
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_valkey_speaks_tls_only_as_it_is_configured(tmp_path: Path) -> None:
    objects, port, authority = case("encrypted"), free_port(), Authority(tmp_path / "authority")
    authority.create()
    pair = authority.for_server("valkey", [], ["localhost"])
    shutil.copy(pair.certificate, tmp_path / "tls.crt")
    shutil.copy(pair.key, tmp_path / "tls.key")
    local = {"tls-port 6379": f"tls-port {port}", "/etc/valkey-tls": str(tmp_path)}
    configuration = configured(objects, tmp_path, local)
    url = re.sub(r"@[^/]+/", f"@localhost:{port}/", environment(objects, "api")["REDIS_URL"])
    with Server("valkey", [str(program()), str(configuration)], port, tmp_path).running():
        with Redis.from_url(with_authority(url, str(authority.certificate))) as client:
            assert client.set(MirrorKeys("test-install").record("t"), "value", ex=60)
        with Redis.from_url(url) as distrustful, pytest.raises(RedisConnectionError, match="certificate verify failed"):
            distrustful.ping()
        with Redis(port=port) as plain, pytest.raises(RedisConnectionError):
            plain.ping()
