"""Endpoints of the deployment: events, secrets and reloading of their file."""

from pathlib import Path
from typing import Any

import pytest

from stemyard_contract.event_types import ENDS, EventType
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_operator.config.settings import load_settings
from stemyard_operator.config.webhook_endpoints import Endpoints, EndpointsError, parse
from stemyard_operator.config.webhook_secrets import EndpointRemovedError, WebhookSecrets
from stemyard_operator.decision.webhook_targets import Target, requested_targets, targets
from stemyard_operator.errors import ConfigurationError
from tests.operator.world import INSTALL, SPEC, settings

CRM, ALL, OWN, OTHER = (f"https://{name}.example.com/hook" for name in ("crm", "all", "own", "other"))
FILE = f"""
endpoints:
  - {{name: crm, url: "{CRM}", keys: [team-a], events: [separation.completed], secret: crm-secret}}
  - {{name: all, url: "{ALL}", keys: ["*"], events: [separation.progress, separation.failed]}}
  - {{name: lent, url: "{OTHER}", secret: whsec_bmV3, previousSecret: whsec_b2xk}}
keys:
  team-a: {{secret: team-a-secret, previousSecret: ""}}
"""


def spec(**more: Any) -> SeparationJobSpec:
    return SeparationJobSpec.model_validate({**SPEC, **more})


def claims(*given: tuple[str, str | None]) -> list[dict[str, str]]:
    return [{"key": key} | ({"webhook": url} if url else {}) for key, url in given]


def targets_by_url(wanted: SeparationJobSpec, endpoints: Endpoints, **config: Any) -> dict[str, Target]:
    return {one.url: one for one in targets(wanted, settings(**config), endpoints)}


def test_endpoints_of_a_key_get_events_of_its_tracks_only() -> None:
    endpoints = parse(FILE)
    assert targets_by_url(spec(claims=claims(("team-b", None))), endpoints).keys() == {ALL}
    found = targets_by_url(spec(claims=claims(("team-b", None), ("team-a", None))), endpoints)
    assert found[CRM] == Target(CRM, frozenset({EventType.COMPLETED}), "crm", "team-a")
    assert found[ALL] == Target(ALL, frozenset({EventType.PROGRESS, EventType.FAILED}), "all")
    assert found.keys() == {CRM, ALL}


def test_endpoints_get_terminal_events_by_default() -> None:
    wanted = spec(webhooks=[{"url": ALL}, {"url": OTHER, "events": ["separation.started"]}])
    found = targets_by_url(wanted, Endpoints(), webhook_url=OWN)
    assert {url: one.events for url, one in found.items()} == {
        OWN: ENDS,
        ALL: ENDS,
        OTHER: frozenset({EventType.STARTED}),
    }
    [own] = targets_by_url(spec(), Endpoints(), webhook_url=OWN, webhook_events="separation.failed").values()
    assert own.events == {EventType.FAILED}


def test_subscriptions_of_one_url_are_merged() -> None:
    wanted = spec(
        webhooks=[{"url": OTHER, "events": ["separation.started"]}],
        claims=[{"key": "b", "webhook": OTHER, "webhookEvents": ["separation.failed"]}, {"key": "c", "webhook": OTHER}],
    )
    assert targets_by_url(wanted, parse(FILE))[OTHER] == Target(OTHER, ENDS | {EventType.STARTED}, "lent")
    assert [one.url for one in requested_targets(wanted, parse(FILE))] == [OTHER]


def test_a_key_cannot_use_the_secret_of_another_keys_endpoint() -> None:
    for key, endpoint in (("team-b", None), ("team-a", "crm")):
        assert targets_by_url(spec(claims=claims((key, CRM))), parse(FILE))[CRM].endpoint == endpoint
    assert targets_by_url(spec(webhooks=[{"url": CRM}]), parse(FILE))[CRM].endpoint is None


def test_the_most_specific_secret_signs(tmp_path: Path) -> None:
    (tmp_path / "WEBHOOK_SECRET").write_text("global")
    (tmp_path / "endpoints.yaml").write_text(FILE)
    webhook_secrets = WebhookSecrets(settings(webhook_secrets_dir=tmp_path))
    assert webhook_secrets.secrets() == ("global",)
    assert webhook_secrets.secrets(key="team-b") == ("global",)
    assert webhook_secrets.secrets(key="team-a") == ("team-a-secret",)
    assert webhook_secrets.secrets("all", None) == ("global",)
    assert webhook_secrets.secrets("crm", "team-a") == ("crm-secret",)
    assert webhook_secrets.secrets("lent", "team-a") == ("whsec_bmV3", "whsec_b2xk")
    with pytest.raises(EndpointRemovedError):
        webhook_secrets.secrets("gone")


def test_a_changed_file_is_reloaded_and_an_invalid_one_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    webhook_secrets = WebhookSecrets(settings(webhook_secrets_dir=tmp_path))
    assert webhook_secrets.endpoints == Endpoints()
    path = tmp_path / "endpoints.yaml"
    path.write_text(FILE)
    assert [one.name for one in webhook_secrets.endpoints.endpoints] == ["crm", "all", "lent"]
    path.write_text(FILE.replace("whsec_bmV3", "whsec_%%broken%%"))
    for _ in range(3):
        assert [one.name for one in webhook_secrets.endpoints.endpoints] == ["crm", "all", "lent"]
    assert webhook_secrets.secrets("lent") == ("whsec_bmV3", "whsec_b2xk")
    assert caplog.text.count("not reloaded") == 1
    assert "broken" not in caplog.text
    path.write_text("")
    assert webhook_secrets.endpoints == Endpoints()
    path.unlink()
    assert webhook_secrets.endpoints == Endpoints()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("endpoints: {", "YAML"),
        ("endpoints: [{name: a}]", "url"),
        ("endpoints: [{name: A, url: https://example.com}]", "name"),
        ("endpoints: [{name: a, url: ftp://example.com}]", "http"),
        ("endpoints: [{name: a, url: https://e.com, events: [all]}]", "events"),
        ("endpoints: [{name: a, url: https://e.com, secret: whsec_%}]", "base64"),
        ("endpoints: [{name: a, url: https://e.com, secret: whsec_QUJDRA}]", "lacks its padding: append =="),
        ("keys: {a: {secret: x, previousSecret: whsec_QUI}}", "lacks its padding: append ="),
        ("endpoints: [{name: a, url: https://e.com, previousSecret: old}]", "there is none"),
        ("endpoints: [{name: a, url: https://e.com}, {name: a, url: https://f.com}]", "one name"),
        ("endpoints: [{name: a, url: https://e.com}, {name: b, url: https://e.com}]", "one url"),
        ("keys: {team-a: {sekret: x}}", "sekret"),
        ("keys: 2026-02-30", "cannot read"),
        ("keys: !!bool maybe", "cannot read"),
        ("[" * 5000, "cannot read"),
    ],
)
def test_an_invalid_file_of_endpoints_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(EndpointsError, match=complaint):
        parse(text)


def test_an_invalid_file_prevents_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEMYARD_INSTALL_ID", INSTALL)
    monkeypatch.setenv("WEBHOOK_SECRETS_DIR", str(tmp_path))
    (tmp_path / "endpoints.yaml").write_text("endpoints: [{name: a}]")
    with pytest.raises(ConfigurationError, match=r"endpoints\.yaml"):
        load_settings()


def test_secrets_of_endpoints_are_not_in_reprs() -> None:
    assert "secret-" not in repr(parse(FILE.replace("crm-secret", "secret-1").replace("team-a-secret", "secret-2")))
