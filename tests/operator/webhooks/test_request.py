"""Webhook requests: the original service's bodies, with links and signatures made for each attempt."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stemyard_contract.webhook_signature import verify
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.webhooks.registered_secrets import RegisteredSecrets
from stemyard_operator.webhooks.request import RequestBuilder, WebhookRequest
from tests.operator.decision.test_webhook_outbox import OWN, TRACK, finished, of
from tests.operator.model.registered import MASTERS, registrations
from tests.operator.world import INSTALL, SPEC, START, World, settings

STORE = {
    "s3_endpoint_url": "http://store.internal:7070",
    "s3_public_endpoint_url": "https://stems.example.com",
    "r2_access_key_id": "key",
    "r2_secret_access_key": "secret",
    "s3_region": "us-east-1",
}
AT = 1_800_000_000


def written(world: World, **config: Any) -> WebhookRequest:
    configured = settings(**{"webhook_url": OWN, "webhook_secret": "s3cret", **STORE, **config})
    registered = RegisteredSecrets(MASTERS, registrations)
    secrets = WebhookSecrets(configured), registered
    return RequestBuilder(configured, ObjectStoreClient(configured), *secrets).terminal(
        world.separation, of(world, OWN), AT
    )


def test_success_contains_links_for_clients() -> None:
    got = written(finished())
    found = verify(got.body, got.headers, "s3cret", now=AT)
    payload = found.payload
    assert list(payload) == ["status", "track_id", "result", "progress", "created_at"]
    assert list(payload["result"]) == ["vocals_url", "instrumental_url", "track_id"]
    assert (payload["track_id"], payload["progress"], payload["created_at"]) == (TRACK, 100, START.timestamp())
    link = urlsplit(payload["result"]["vocals_url"])
    assert f"{link.scheme}://{link.netloc}" == "https://stems.example.com"
    assert link.path.startswith(f"/stemyard/{INSTALL}/stems/{TRACK}/")
    assert parse_qs(link.query)["X-Amz-Expires"] == ["604800"]
    assert got.headers["User-Agent"].startswith("Stemyard/")
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["X-Webhook-Event"] == found.event == "separation.completed"


@pytest.mark.parametrize("domain", ["stems.example.org", "https://stems.example.org/"])
def test_with_a_public_domain_links_are_permanent(domain: str) -> None:
    payload = verify(*_parts(written(finished(), r2_public_domain=domain)), "s3cret", now=AT).payload
    link = payload["result"]["vocals_url"]
    assert link.startswith(f"https://stems.example.org/{INSTALL}/stems/{TRACK}/")
    assert "?" not in link


def test_each_attempt_has_the_same_content() -> None:
    world = finished()
    first, second = (written(world, r2_public_domain="stems.example.org") for _ in range(2))
    assert first == second


def test_a_cancellation_is_the_original_services_failure() -> None:
    world = World(spec={**SPEC, "cancel": True}, config=settings(webhook_url=OWN))
    world.settle()
    found = verify(*_parts(written(world)), "s3cret", now=AT)
    assert found.event == "separation.cancelled"
    assert found.payload == {
        "status": "failed",
        "track_id": TRACK,
        "error": "The separation was cancelled.",
        "progress": 0,
        "created_at": START.timestamp(),
    }


def test_a_test_webhook_has_no_result() -> None:
    world = World(spec={**SPEC, "webhookTest": True, "webhooks": [{"url": OWN}]})
    world.settle()
    found = verify(*_parts(written(world)), "s3cret", now=AT)
    assert found.event == "webhook.test"
    assert found.payload == {"status": "test", "track_id": TRACK, "progress": 0, "created_at": START.timestamp()}


def _parts(got: WebhookRequest) -> tuple[bytes, dict[str, str]]:
    return got.body, dict(got.headers)


def test_without_a_secret_it_is_not_signed() -> None:
    assert "X-Webhook-Signature" not in written(finished(), webhook_secret=None).headers
