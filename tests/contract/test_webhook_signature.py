"""Signatures of webhooks: those that consumers of the original service and Standard Webhooks accept; verification."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from stemyard_contract import webhook_signature
from stemyard_contract.event_types import EventType

PLAIN = "a secret with ümlauts"
KEY = bytes(range(32))
STANDARD = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"status": "completed", "track_id": "6d6cbd4f-9c1c-5f51-b8a0-0a4f6a9b1f2e", "progress": 100}'


def verify_webhook(payload_str: str, signature: str, secret: str) -> bool:
    """The function that the original service's documentation gives its consumers, to the letter."""
    expected = hmac.new(secret.encode("utf-8"), payload_str.encode("utf-8"), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature.replace("sha256=", ""))


def headers(*secrets: str, body: bytes = BODY, at: int | None = None) -> dict[str, str]:
    return webhook_signature.signed_headers("id-1", EventType.COMPLETED, body, at or int(time.time()), secrets)


@pytest.mark.parametrize("secret", [PLAIN, STANDARD, "short"])
def test_a_consumer_of_the_original_service_verifies(secret: str) -> None:
    signature = headers(secret)["X-Webhook-Signature"]
    assert signature.startswith("sha256=")
    assert verify_webhook(BODY.decode(), signature, secret)
    assert not verify_webhook(BODY.decode() + " ", signature, secret)


@pytest.mark.parametrize(("secret", "consumer"), [(PLAIN, Webhook(PLAIN.encode())), (STANDARD, Webhook(STANDARD))])
def test_the_standard_library_verifies(secret: str, consumer: Webhook) -> None:
    assert consumer.verify(BODY, headers(secret)) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        consumer.verify(BODY + b" ", headers(secret))


def test_while_secrets_rotate_both_verify_and_the_body_signature_is_the_older() -> None:
    sent = headers("new", "old")
    for secret in ("new", "old"):
        assert Webhook(secret.encode()).verify(BODY, sent)
        assert webhook_signature.verify(BODY, sent, secret).id == "id-1"
    assert verify_webhook(BODY.decode(), sent["X-Webhook-Signature"], "old")


def test_without_a_secret_nothing_is_signed() -> None:
    assert headers(at=1000) == {
        "Content-Type": "application/json",
        "X-Webhook-Event": "separation.completed",
        "webhook-id": "id-1",
        "webhook-timestamp": "1000",
    }


def test_what_verify_returns() -> None:
    found = webhook_signature.verify(BODY.decode(), headers(STANDARD, at=1000), STANDARD, now=1000.5)
    assert (found.id, found.event, found.sent_at) == ("id-1", EventType.COMPLETED, 1000)
    assert found.payload == json.loads(BODY)
    assert webhook_signature.verify(BODY, headers(PLAIN), ["other", PLAIN]).payload == json.loads(BODY)
    later = {**headers(PLAIN), "X-Webhook-Event": "separation.paused"}
    assert webhook_signature.verify(BODY, later, PLAIN).event is None
    assert (
        webhook_signature.verify(BODY, {name.title(): value for name, value in headers(PLAIN).items()}, PLAIN).id
        == "id-1"
    )


def changed(sent: Mapping[str, str], **values: str) -> dict[str, str]:
    new = {name.replace("_", "-"): value for name, value in values.items()}
    return {name: value for name, value in {**sent, **new}.items() if value}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"webhook_id": ""}, webhook_signature.MissingHeaderError, "webhook-id is missing"),
        ({"webhook_timestamp": ""}, webhook_signature.MissingHeaderError, "webhook-timestamp is missing"),
        ({"webhook_timestamp": "soon"}, webhook_signature.MissingHeaderError, "not a number"),
        ({"webhook_signature": ""}, webhook_signature.MissingHeaderError, "webhook-signature is missing"),
        ({"webhook_signature": "v1,AAAA"}, webhook_signature.BadSignatureError, "check the secret"),
        ({"webhook_signature": "v1a,ü"}, webhook_signature.BadSignatureError, "check the secret"),
        ({"webhook_id": "id-2"}, webhook_signature.BadSignatureError, "check the secret"),
        ({"webhook_timestamp": "1001"}, webhook_signature.BadSignatureError, "check the secret"),
    ],
)
def test_what_is_not_ours_is_refused(changes: dict[str, str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        webhook_signature.verify(BODY, changed(headers(PLAIN, at=1000), **changes), PLAIN, now=1000)


@pytest.mark.parametrize(("now", "stale"), [(1300, False), (1301, True), (700, False), (699, True)])
def test_old_messages_are_refused(now: float, stale: bool) -> None:
    sent = headers(PLAIN, at=1000)
    if not stale:
        assert webhook_signature.verify(BODY, sent, PLAIN, now=now)
        return
    with pytest.raises(webhook_signature.StaleTimestampError, match="300 s are allowed"):
        webhook_signature.verify(BODY, sent, PLAIN, now=now)


def test_a_message_that_was_seen_is_a_replay() -> None:
    seen: set[str] = set()
    webhook_signature.verify(BODY, headers(PLAIN), PLAIN, seen=seen.__contains__)
    seen.add("id-1")
    with pytest.raises(webhook_signature.ReplayError, match="answer 200 and do nothing"):
        webhook_signature.verify(BODY, headers(PLAIN), PLAIN, seen=seen.__contains__)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "the webhook secret is empty"),
        ("whsec_", "the webhook secret is empty"),
        ("whsec_%%%", "in the webhook secret is not base64$"),
        ("whsec_" + "A" * 41, "in the webhook secret is not base64$"),
        ("whsec_" + "A" * 42, "lacks its padding: append ==$"),
        ("whsec_" + "A" * 43, "lacks its padding: append =$"),
        ("whsec_" + "A" * 42 + "B=", "encode the key again"),
        ("whsec_" + "A" * 42 + "=", "lacks its padding: append =$"),
        ("whsec_" + "A" * 41 + "_+=", "not base64$"),
    ],
)
def test_an_unusable_secret_is_refused(secret: str, words: str) -> None:
    with pytest.raises(webhook_signature.SecretError, match=words) as caught:
        webhook_signature.standard_key(secret)
    assert "AAAA" not in str(caught.value)


@given(st.binary(min_size=1, max_size=64))
def test_a_secret_as_base64_encodes_it_is_accepted_and_no_other(key: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    assert webhook_signature.standard_key(f"whsec_{encoded}") == key
    if encoded.endswith("="):
        with pytest.raises(webhook_signature.SecretError, match="lacks its padding"):
            webhook_signature.standard_key(f"whsec_{encoded.rstrip('=')}")
