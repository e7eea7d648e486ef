"""The authority's certificates, checked by openssl and read back from a kubeconfig."""

import base64
import json
from pathlib import Path

import pytest

from localcluster import kubeconfig
from localcluster.certificates import Authority
from localcluster.programs import run


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.create()
    return made


def test_what_it_signs_verifies_against_it(authority: Authority) -> None:
    server = authority.for_server("server", ["127.0.0.1"], ["localhost"])
    client = authority.for_client("jane", ["dev"])
    for purpose, pair in (("sslserver", server), ("sslclient", client)):
        command: list[str | Path] = [
            "openssl",
            "verify",
            "-purpose",
            purpose,
            "-CAfile",
            authority.certificate,
            pair.certificate,
        ]
        assert "OK" in run(command, timeout=20)


def test_user_and_groups_are_in_the_subject(authority: Authority) -> None:
    pair = authority.for_client("system:serviceaccount:ns:name", ["one", "two"])
    subject = run(["openssl", "x509", "-noout", "-subject", "-in", pair.certificate], timeout=20)
    assert subject.replace(" ", "").strip() == "subject=O=one,O=two,CN=system:serviceaccount:ns:name"


def test_a_second_creation_keeps_the_first_authority(authority: Authority) -> None:
    before = authority.certificate.read_bytes()
    authority.create()
    assert authority.certificate.read_bytes() == before


def test_a_kubeconfig_holds_everything_and_only_its_owner_reads_it(authority: Authority, tmp_path: Path) -> None:
    pair = authority.for_client("admin")
    content = kubeconfig.render(
        "https://127.0.0.1:1", authority.certificate.read_bytes(), "admin", kubeconfig.with_certificate(pair)
    )
    path = kubeconfig.write(tmp_path / "sub" / "config", content)
    assert path.stat().st_mode & 0o777 == 0o600
    user = json.loads(path.read_text())["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == pair.key.read_bytes()
