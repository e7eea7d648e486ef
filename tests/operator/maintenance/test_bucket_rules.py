"""The bucket's rules: ours in their place, others untouched, and a store that knows none says so."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.maintenance.bucket_rules import cors_rules, lifecycle_rules, set_up
from tests.operator.world import INSTALL, settings
from tests.support.http_server import Exchange, HttpServer
from tests.support.servers import ObjectStore, object_store

FOREIGN = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
PAGE = "https://songs.example.com"


def test_only_uploads_and_source_audio_age() -> None:
    *others, uploads, work = lifecycle_rules(INSTALL, 14, [FOREIGN])
    assert others == [FOREIGN]
    assert [rule["Filter"]["Prefix"] for rule in (uploads, work)] == [f"{INSTALL}/uploads/", f"{INSTALL}/work/"]
    assert lifecycle_rules(INSTALL, 14, [FOREIGN, uploads, work]) == [FOREIGN, uploads, work]
    assert [rule["Expiration"]["Days"] for rule in lifecycle_rules(INSTALL, 20, [work, uploads])] == [20, 20]


def test_another_installation_keeps_its_rules() -> None:
    theirs = lifecycle_rules("install-2", 30, [])
    assert lifecycle_rules(INSTALL, 14, theirs)[:2] == theirs


def test_pages_may_upload_and_without_pages_the_rule_goes() -> None:
    [ours] = cors_rules(INSTALL, [PAGE], [])
    assert ours["AllowedOrigins"] == [PAGE]
    assert "PUT" in ours["AllowedMethods"]
    assert cors_rules(INSTALL, [], [ours, FOREIGN]) == [FOREIGN]


class RuleStore:
    """The part of S3 that keeps a bucket's rules, as XML; speaks its protocol and nothing else."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.writes = 0

    def route(self, exchange: Exchange) -> None:
        body, query = exchange.body(), exchange.path.partition("?")[2].partition("=")[0]
        if query not in {"lifecycle", "cors"}:
            return exchange.answer(200)
        if exchange.command == "PUT":
            self.kept[query] = body
            self.writes += 1
            return exchange.answer(200)
        if query in self.kept:
            return exchange.answer(200, self.kept[query], content_type="application/xml")
        code = {"lifecycle": "NoSuchLifecycleConfiguration", "cors": "NoSuchCORSConfiguration"}[query]
        return exchange.answer(404, f"<Error><Code>{code}</Code></Error>".encode(), content_type="application/xml")


@pytest.fixture
def rule_store() -> Iterator[tuple[RuleStore, Settings]]:
    store = RuleStore()
    with HttpServer(store.route) as server:
        keys = {"r2_access_key_id": "access", "r2_secret_access_key": "secret", "s3_region": "us-east-1"}
        yield store, settings(s3_endpoint_url=server.url, **keys)


async def test_rules_are_set_and_set_again(rule_store: tuple[RuleStore, Settings]) -> None:
    store, given = rule_store
    told = await set_up(given, 14, [PAGE])
    assert told[1:] == [
        f"lifecycle: {INSTALL}/uploads/ and {INSTALL}/work/ go after 14 days",
        f"CORS: {PAGE} may read and upload",
    ]
    first = dict(store.kept)
    assert re.findall(rb"<Prefix>([^<]*)", first["lifecycle"]) == [b"install-1/uploads/", b"install-1/work/"]
    assert re.findall(rb"<AllowedOrigin>([^<]*)", first["cors"]) == [PAGE.encode()]
    await set_up(given, 14, [PAGE])
    assert (store.kept, store.writes) == (first, 4)


async def test_rules_of_others_and_of_pages_stay(rule_store: tuple[RuleStore, Settings]) -> None:
    store, given = rule_store
    objects = ObjectStoreClient(given)
    await objects.set_lifecycle([FOREIGN])
    await set_up(given, 14, None)
    assert "cors" not in store.kept
    assert FOREIGN in await objects.lifecycle()
    assert len(await objects.lifecycle()) == 3
    await objects.close()


@pytest.fixture(scope="module")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as found:
        yield found


def called(store: ObjectStore, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stemyard_operator", "bucket-rules", *arguments]
    environment = {**store.environment, "STEMYARD_INSTALL_ID": INSTALL, "PATH": str(Path(sys.executable).parent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_store_without_lifecycle_says_so(versity: ObjectStore) -> None:
    ended = called(versity, "--origin", PAGE)
    assert ended.returncode == 0, ended.stderr
    assert "lifecycle: this store knows no such rules; nothing was set" in ended.stdout
    assert f"CORS: {PAGE} may read and upload" in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("--days", "7"), ("--days", "x"), ("--origin", "songs.example.com"), ("--origin", PAGE + "/")]
)
def test_wrong_arguments_are_refused_in_a_sentence(versity: ObjectStore, arguments: tuple[str, str]) -> None:
    ended = called(versity, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "must be" in ended.stderr


def test_wrong_credentials_are_told(versity: ObjectStore) -> None:
    environment = {**versity.environment, "R2_SECRET_ACCESS_KEY": "wrong", "STEMYARD_INSTALL_ID": INSTALL}
    command = [sys.executable, "-m", "stemyard_operator", "bucket-rules"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "the bucket was not set up" in ended.stderr
    assert "Traceback" not in ended.stderr
