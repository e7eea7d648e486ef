"""Registered webhooks: their resource, and secrets that are derived and never stored."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from stemyard_contract.key_webhooks import SecretVersion, key_webhooks_of, resource_name
from stemyard_contract.webhook_secrets import MasterSecrets
from stemyard_contract.webhook_signature import SecretError, standard_key

MASTER, OLDER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
HOOK = "wh_2f1c5d0b9a8e7f6a5b4c3d2e"
MASTERS = MasterSecrets("install", [MASTER])


def resource(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"key": "team-a", **spec}}


def test_a_secret_is_the_documented_hmac_in_the_form_of_standard_webhooks() -> None:
    secret = MASTERS.secret("team-a", HOOK, MASTERS.version(2))
    message = f"stemyard registered webhooks\nsecret\ninstall\nteam-a\n{HOOK}\n2"
    digest = hmac.new(MASTER.encode(), message.encode(), hashlib.sha256).digest()
    assert secret == f"whsec_{base64.b64encode(digest).decode()}"
    assert standard_key(secret) == digest


def test_every_part_of_the_identity_gives_another_secret() -> None:
    one, two = MASTERS.version(1), MASTERS.version(2)
    found = [
        MASTERS.secret("a", HOOK, one),
        MASTERS.secret("b", HOOK, one),
        MASTERS.secret("a", HOOK.replace("2", "3"), one),
        MASTERS.secret("a", HOOK, two),
        MasterSecrets("other", [MASTER]).secret("a", HOOK, MasterSecrets("other", [MASTER]).version(1)),
    ]
    assert len(set(found)) == len(found)


def test_a_rotated_master_secret_keeps_what_was_derived_from_it_until_it_is_removed() -> None:
    version = MasterSecrets("install", [OLDER]).version(1)
    secret = MasterSecrets("install", [OLDER]).secret("a", HOOK, version)
    rotating = MasterSecrets("install", [MASTER, OLDER])
    assert rotating.secret("a", HOOK, version) == secret
    assert rotating.version(1) == MASTERS.version(1) != version
    with pytest.raises(SecretError):
        MASTERS.secret("a", HOOK, version)


def test_a_fingerprint_reveals_nothing_of_the_secret_and_fits_the_resource() -> None:
    version = MASTERS.version(1)
    assert MASTER not in version.model_dump_json()
    assert SecretVersion.model_validate(version.model_dump()) == version
    assert not MasterSecrets("install", []).enabled


def test_a_resource_counts_only_under_the_name_of_its_key() -> None:
    """The API reads and writes by name: one of another name would be notified without its owner's knowledge."""
    name = resource_name("team-a")
    assert name == f"key-{hashlib.sha256(b'team-a').hexdigest()[:32]}"
    found = key_webhooks_of(resource(name))
    assert found is not None
    assert (found.key, found.webhooks, found.revoked) == ("team-a", [], False)
    assert key_webhooks_of(resource("mine")) is None
