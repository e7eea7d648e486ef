"""Webhooks: the original service's bodies, and signatures that its consumers and Standard Webhooks accept."""

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

from stemyard_contract import webhook
from stemyard_contract.separationjob import Phase, Stem
from stemyard_contract.webhook import EventType

TRACK = "6d6cbd4f-9c1c-5f51-b8a0-0a4f6a9b1f2e"
URL = "https://app.example.com/hooks"
PLAIN = "a secret with ümlauts"
KEY = bytes(range(32))
STANDARD = "whsec_" + base64.b64encode(KEY).decode()
BODY = webhook.completed_body(
    TRACK, {stem: f"https://stems.example.com/{stem}.mp3" for stem in (Stem.VOCALS, Stem.INSTRUMENTAL)}, 1234567890.0
)


def verify_webhook(payload_str: str, signature: str, secret: str) -> bool:
    """The function that the original service's documentation gives its consumers, to the letter."""
    expected = hmac.new(secret.encode("utf-8"), payload_str.encode("utf-8"), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature.replace("sha256=", ""))


def headers(*secrets: str, body: bytes = BODY, at: int | None = None) -> dict[str, str]:
    return webhook.signed_headers("id-1", EventType.COMPLETED, body, at or int(time.time()), secrets)


SUCCESS = (
    '{"status": "completed", "track_id": "TRACK", "result": {"vocals_url": "https://stems.example.com/vocals.mp3", '
    '"instrumental_url": "https://stems.example.com/instrumental.mp3", "track_id": "TRACK"}, "progress": 100, '
    '"created_at": 1234567890.0}'
)
FAILURE = '{"status": "failed", "track_id": "TRACK", "error": "No \\u266a", "progress": 0, "created_at": 1234567890.0}'


def test_the_bodies_are_those_of_the_original_service() -> None:
    assert BODY.decode() == SUCCESS.replace("TRACK", TRACK)
    assert webhook.failed_body(TRACK, "No ♪", 1234567890.0).decode() == FAILURE.replace("TRACK", TRACK)


def test_the_body_of_a_test_and_of_a_run_in_progress() -> None:
    head = f'"track_id": "{TRACK}", "progress"'
    assert webhook.test_body(TRACK, 1234567890.0).decode() == (
        f'{{"status": "test", {head}: 0, "created_at": 1234567890.0}}'
    )
    assert webhook.processing_body(TRACK, 42, 1234567890.0, Phase.SEPARATING).decode() == (
        f'{{"status": "processing", {head}: 42, "created_at": 1234567890.0, "phase": "Separating"}}'
    )


def test_the_event_is_that_of_the_phase_except_for_a_test() -> None:
    ends = (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)
    assert [webhook.event_of(phase) for phase in ends] == [EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED]
    assert webhook.event_of(Phase.COMPLETED, test=True) is EventType.TEST


@given(st.text(), st.floats(min_value=0, max_value=4e9))
def test_a_consumer_may_dump_what_it_parsed(error: str, created_at: float) -> None:
    body = webhook.failed_body(TRACK, error, created_at)
    assert json.dumps(json.loads(body)).encode() == body


def test_an_id_is_of_track_run_event_and_target() -> None:
    given_id = webhook.webhook_id(TRACK, 1, EventType.COMPLETED, URL)
    assert given_id == "39915f39-5df4-5a25-96ff-4b33758ce717"
    others = {
        webhook.webhook_id(TRACK + "x", 1, EventType.COMPLETED, URL),
        webhook.webhook_id(TRACK, 2, EventType.COMPLETED, URL),
        webhook.webhook_id(TRACK, 1, EventType.FAILED, URL),
        webhook.webhook_id(TRACK, 1, EventType.COMPLETED, URL + "/2"),
    }
    assert len(others | {given_id}) == 5
    of_progress = {webhook.webhook_id(TRACK, 1, EventType.PROGRESS, URL, progress) for progress in (0, 50, None)}
    assert len(of_progress) == 3


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
        assert webhook.verify(BODY, sent, secret).id == "id-1"
    assert verify_webhook(BODY.decode(), sent["X-Webhook-Signature"], "old")


def test_without_a_secret_nothing_is_signed() -> None:
    assert headers(at=1000) == {
        "Content-Type": "application/json",
        "X-Webhook-Event": "separation.completed",
        "webhook-id": "id-1",
        "webhook-timestamp": "1000",
    }


def test_what_verify_returns() -> None:
    found = webhook.verify(BODY.decode(), headers(STANDARD, at=1000), STANDARD, now=1000.5)
    assert (found.id, found.event, found.sent_at) == ("id-1", EventType.COMPLETED, 1000)
    assert found.payload == json.loads(BODY)
    assert webhook.verify(BODY, headers(PLAIN), ["other", PLAIN]).payload == json.loads(BODY)
    later = {**headers(PLAIN), "X-Webhook-Event": "separation.paused"}
    assert webhook.verify(BODY, later, PLAIN).event is None
    assert webhook.verify(BODY, {name.title(): value for name, value in headers(PLAIN).items()}, PLAIN).id == "id-1"


def changed(sent: Mapping[str, str], **values: str) -> dict[str, str]:
    new = {name.replace("_", "-"): value for name, value in values.items()}
    return {name: value for name, value in {**sent, **new}.items() if value}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"webhook_id": ""}, webhook.MissingHeaderError, "webhook-id is missing"),
        ({"webhook_timestamp": ""}, webhook.MissingHeaderError, "webhook-timestamp is missing"),
        ({"webhook_timestamp": "soon"}, webhook.MissingHeaderError, "not a number"),
        ({"webhook_signature": ""}, webhook.MissingHeaderError, "webhook-signature is missing"),
        ({"webhook_signature": "v1,AAAA"}, webhook.BadSignatureError, "check the secret"),
        ({"webhook_signature": "v1a,ü"}, webhook.BadSignatureError, "check the secret"),
        ({"webhook_id": "id-2"}, webhook.BadSignatureError, "check the secret"),
        ({"webhook_timestamp": "1001"}, webhook.BadSignatureError, "check the secret"),
    ],
)
def test_what_is_not_ours_is_refused(changes: dict[str, str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        webhook.verify(BODY, changed(headers(PLAIN, at=1000), **changes), PLAIN, now=1000)


@pytest.mark.parametrize(("now", "stale"), [(1300, False), (1301, True), (700, False), (699, True)])
def test_old_messages_are_refused(now: float, stale: bool) -> None:
    sent = headers(PLAIN, at=1000)
    if not stale:
        assert webhook.verify(BODY, sent, PLAIN, now=now)
        return
    with pytest.raises(webhook.StaleTimestampError, match="300 s are allowed"):
        webhook.verify(BODY, sent, PLAIN, now=now)


def test_a_message_that_was_seen_is_a_replay() -> None:
    seen: set[str] = set()
    webhook.verify(BODY, headers(PLAIN), PLAIN, seen=seen.__contains__)
    seen.add("id-1")
    with pytest.raises(webhook.ReplayError, match="answer 200 and do nothing"):
        webhook.verify(BODY, headers(PLAIN), PLAIN, seen=seen.__contains__)


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
    with pytest.raises(webhook.SecretError, match=words) as caught:
        webhook.standard_key(secret)
    assert "AAAA" not in str(caught.value)


@given(st.binary(min_size=1, max_size=64))
def test_a_secret_as_base64_encodes_it_is_accepted_and_no_other(key: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    assert webhook.standard_key(f"whsec_{encoded}") == key
    if encoded.endswith("="):
        with pytest.raises(webhook.SecretError, match="lacks its padding"):
            webhook.standard_key(f"whsec_{encoded.rstrip('=')}")


def test_the_schedule_takes_about_three_days() -> None:
    minute, hour = 60, 3600
    recommended = (0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour)
    assert recommended == webhook.RETRY_SCHEDULE
    assert sum(webhook.RETRY_SCHEDULE) / hour == pytest.approx(75.6, abs=0.05)
