"""The operator with a desk by TLS and secrets as files, and the separator's own client with the token of a real pod."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from localcluster.certificates import Authority
from localcluster.control_plane import ControlPlane
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import ASSIGNMENT_VARIABLE, LinkRequest, WorkStage
from stemyard_separator.errors import PublishError
from stemyard_separator.http import HttpClient
from stemyard_separator.transfer.deadline import StageDeadline
from stemyard_separator.transfer.desk import DeskClient
from tests.support.operator_world import World, eventually, world

SECRETS = ("REDIS_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "WEBHOOK_MASTER_SECRET")


@dataclass(frozen=True)
class Encrypted:
    """A world whose operator serves its desk by TLS."""

    world: World
    url: str
    authority: Authority


@pytest.fixture(scope="module")
def encrypted(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    authority, secrets, desk = Authority(folder / "authority"), folder / "secrets", folder / "desk"
    authority.create()
    pair = authority.for_server("desk", ["127.0.0.1"], ["localhost"])
    for one in (secrets, desk):
        one.mkdir()
    shutil.copy(pair.certificate, desk / "tls.crt")
    shutil.copy(pair.key, desk / "tls.key")
    with world(control_plane, folder) as found:
        for name in SECRETS:
            (secrets / name).write_text(found.environment[name] + "\n")
        kept = {name: value for name, value in found.environment.items() if name not in SECRETS}
        files = {"STEMYARD_SECRETS_DIR": str(secrets), "DESK_TLS_DIR": str(desk), "SEPARATOR_CA_SECRETS": "desk-tls"}
        running = replace(found, environment={**kept, **files})
        operator = running.operator()
        url = operator.desk.replace("http:", "https:")
        operator.server.environment = {**operator.server.environment, "DESK_URL": url}
        try:
            operator.start()
            yield Encrypted(running, url, authority)
        finally:
            if operator.alive():
                operator.kill()


def ask(encrypted: Encrypted, token: Path, cas: Path, url: str = "") -> str:
    http = HttpClient(ca_dir=cas)
    try:
        desk = DeskClient(url or encrypted.url, token, http, StageDeadline(time.monotonic() + 1))
        return desk.links([LinkRequest(file="audio.flac", method="PUT", bytes=1)])[0].key
    finally:
        http.close()


def test_a_pod_reaches_the_desk_by_tls_only(encrypted: Encrypted, tmp_path: Path) -> None:
    running, token, cas = encrypted.world, tmp_path / "token", tmp_path / "cas"
    running.create()
    job = running.wait_job(WorkStage.FETCH)
    spec = job["spec"]["template"]["spec"]
    variables = {one["name"]: one.get("value", "") for one in spec["containers"][0]["env"]}
    assert json.loads(variables[ASSIGNMENT_VARIABLE])["deskUrl"] == encrypted.url
    assert variables["STEMYARD_CA_DIR"] in {one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    token.write_text(running.token(running.run(job)))
    cas.mkdir()
    with pytest.raises(PublishError) as refused:
        ask(encrypted, token, cas)
    assert refused.value.code is FailureCode.DESK_UNREACHABLE
    shutil.copy(encrypted.authority.certificate, cas / "desk-tls.crt")
    assert ask(encrypted, token, cas).startswith(f"test/work/{running.namespace}.song/")
    with pytest.raises(PublishError):
        ask(encrypted, token, cas, encrypted.url.replace("https:", "http:"))


def test_a_run_ends_with_secrets_from_files(encrypted: Encrypted) -> None:
    """Redis and the store are reached by what the files say."""
    running = encrypted.world
    running.create("other")
    running.separate("other")
    with running.redis() as client:
        eventually(lambda: client.exists(running.keys.record(f"{running.namespace}.other")))
