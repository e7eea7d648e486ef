"""The bucket's rules: the operator's are set, others untouched, and missing support is reported."""

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


def test_only_uploads_and_source_audio_expire() -> None:
    *others, uploads, work = lifecycle_rules(INSTALL, 14, [FOREIGN])
    assert others == [FOREIGN]
    assert [rule["Filter"]["Prefix"] for rule in (uploads, work)] == [f"{INSTALL}/uploads/", f"{INSTALL}/work/"]
    assert lifecycle_rules(INSTALL, 14, [FOREIGN, uploads, work]) == [FOREIGN, uploads, work]
    assert [rule["Expiration"]["Days"] for rule in lifecycle_rules(INSTALL, 20, [work, uploads])] == [20, 20]


def test_uploads_in_parts_that_are_not_completed_expire_earlier() -> None:
    uploads, work = lifecycle_rules(INSTALL, 14, [])
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "AbortIncompleteMultipartUpload" not in work


def test_another_installation_keeps_its_rules() -> None:
    theirs = lifecycle_rules("install-2", 30, [])
    assert lifecycle_rules(INSTALL, 14, theirs)[:2] == theirs


def test_the_cors_rule_follows_the_allowed_origins() -> None:
    [ours] = cors_rules(INSTALL, [PAGE], [])
    assert ours["AllowedOrigins"] == [PAGE]
    assert "PUT" in ours["AllowedMethods"]
    signed = {"content-type", "content-disposition", "if-none-match", "x-amz-checksum-sha256"}
    assert signed <= set(ours["AllowedHeaders"]), "what the links of uploads require"
    assert cors_rules(INSTALL, [], [ours, FOREIGN]) == [FOREIGN]


class RuleStore:
    """The S3 calls for a bucket's rules, as XML."""

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


async def test_setting_rules_is_idempotent(rule_store: tuple[RuleStore, Settings]) -> None:
    store, given = rule_store
    answers = await set_up(given, 14, [PAGE])
    assert answers[1:] == [
        f"lifecycle: {INSTALL}/uploads/ and {INSTALL}/work/ go after 14 days",
        f"CORS: {PAGE} may read and upload",
    ]
    first = dict(store.kept)
    assert re.findall(rb"<Prefix>([^<]*)", first["lifecycle"]) == [b"install-1/uploads/", b"install-1/work/"]
    assert re.findall(rb"<AllowedOrigin>([^<]*)", first["cors"]) == [PAGE.encode()]
    await set_up(given, 14, [PAGE])
    assert (store.kept, store.writes) == (first, 4)


async def test_other_rules_are_kept(rule_store: tuple[RuleStore, Settings]) -> None:
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


def test_a_store_without_lifecycle_is_reported(versity: ObjectStore) -> None:
    ended = called(versity, "--origin", PAGE)
    assert ended.returncode == 0, ended.stderr
    assert "lifecycle: this store knows no such rules; nothing was set" in ended.stdout
    assert f"CORS: {PAGE} may read and upload" in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("--days", "7"), ("--days", "x"), ("--origin", "songs.example.com"), ("--origin", PAGE + "/")]
)
def test_wrong_arguments_are_refused_with_a_clear_error(versity: ObjectStore, arguments: tuple[str, str]) -> None:
    ended = called(versity, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "must be" in ended.stderr


def test_wrong_credentials_are_reported(versity: ObjectStore) -> None:
    environment = {**versity.environment, "R2_SECRET_ACCESS_KEY": "wrong", "STEMYARD_INSTALL_ID": INSTALL}
    command = [sys.executable, "-m", "stemyard_operator", "bucket-rules"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "the bucket was not set up" in ended.stderr
    assert "Traceback" not in ended.stderr
