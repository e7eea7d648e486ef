"""Webhooks: what is said when a run ends, how it is signed, and how a consumer verifies it."""

import base64
import binascii
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stemyard_contract.event_types import EventType as EventType
from stemyard_contract.separationjob import Phase, Stem

SEED_HEADER: Final = "X-Webhook-Signature"
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
EVENT_HEADER: Final = "X-Webhook-Event"
CONTENT_TYPE: Final = "application/json"

RETRY_SCHEDULE: Final = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds before each attempt, counted from the one before it: the schedule that Standard Webhooks recommends."""
TOLERANCE_SECONDS: Final = 300
"""How far the time of an attempt may lie from the consumer's clock."""
ID_NAMESPACE: Final = uuid.UUID("d7af8b89-a2d2-40df-ac43-8251893d31b2")
"""Namespace of webhook ids. A change would give every retry another id; golden values in the tests guard it."""

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
EVENT_OF_PHASE: Final[Mapping[Phase, EventType]] = {
    Phase.COMPLETED: EventType.COMPLETED,
    Phase.FAILED: EventType.FAILED,
    Phase.CANCELLED: EventType.CANCELLED,
}
"""The event of each phase that ends a run."""


def event_of(phase: Phase, *, test: bool = False) -> EventType:
    """Return the event of a run that has ended, or of a test of its webhooks."""
    return EventType.TEST if test else EVENT_OF_PHASE[phase]


def webhook_id(track_id: str, run: int, event: EventType, url: str, progress: int | None = None) -> str:
    """Return the id that all attempts at one delivery share, a UUIDv5; `progress` tells one progress from another."""
    parts = (track_id, str(run), event, url, *(() if progress is None else (str(progress),)))
    return str(uuid.uuid5(ID_NAMESPACE, "\n".join(parts)))


def completed_body(track_id: str, urls: Mapping[Stem, str], created_at: float) -> bytes:
    """Return the body that tells of success.

    Args:
        track_id: id of the track.
        urls: links to the stems.
        created_at: when the separation was asked for, in epoch seconds.
    """
    links = {f"{stem}_url": urls[stem] for stem in Stem if stem in urls}
    return _dump(
        {
            "status": "completed",
            "track_id": track_id,
            "result": {**links, "track_id": track_id},
            "progress": 100,
            "created_at": created_at,
        }
    )


def failed_body(track_id: str, error: str, created_at: float) -> bytes:
    """Return the body that tells of a failure or a cancellation; `error` is a sentence for people."""
    return _dump({"status": "failed", "track_id": track_id, "error": error, "progress": 0, "created_at": created_at})


def processing_body(track_id: str, progress: int, created_at: float, phase: Phase) -> bytes:
    """Return the body that tells of a run under way: that it has started, or how far it is, in percent."""
    return _dump(
        {
            "status": "processing",
            "track_id": track_id,
            "progress": progress,
            "created_at": created_at,
            "phase": phase.value,
        }
    )


def test_body(track_id: str, created_at: float) -> bytes:
    """Return the body of a test: it tells of nothing but that webhooks arrive and verify."""
    return _dump({"status": "test", "track_id": track_id, "progress": 0, "created_at": created_at})


def _dump(payload: Mapping[str, Any]) -> bytes:
    # with Python's defaults, so that a consumer who dumps what it parsed gets the signed text again
    return json.dumps(payload).encode()


class SecretError(ValueError):
    """The webhook secret cannot be used; the message says what to change."""


def standard_key(secret: str) -> bytes:
    """Return the HMAC key of a secret as Standard Webhooks has it: the base64 after `whsec_`, else its UTF-8 bytes.

    Raises:
        SecretError: it is empty, or what follows `whsec_` is not base64.
    """
    if not secret.startswith(_PREFIX):
        key = secret.encode()
    else:
        text = secret.removeprefix(_PREFIX)
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise SecretError("what follows whsec_ in the webhook secret is not base64") from error
    if not key:
        raise SecretError("the webhook secret is empty")
    return key


def seed_signature(secret: str, body: bytes) -> str:
    """Return the value of `X-Webhook-Signature`: the key is the whole secret's UTF-8 bytes, prefix and all."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature as `webhook-signature` lists it (standardwebhooks.com): base64 of an HMAC-SHA256."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    digest = hmac.new(standard_key(secret), signed, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def signed_headers(
    message_id: str, event: EventType, body: bytes, timestamp: int, secrets: Iterable[str] = ()
) -> dict[str, str]:
    """Return the headers of one attempt.

    Args:
        message_id: the same for every attempt.
        event: what the webhook tells.
        body: the very bytes that are sent.
        timestamp: time of this attempt, in epoch seconds.
        secrets: newest first; while one replaces another, both sign, and the seed's header has the oldest's.

    Raises:
        SecretError: a secret cannot be used.
    """
    headers = {
        "Content-Type": CONTENT_TYPE,
        EVENT_HEADER: event.value,
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
    }
    known = list(secrets)
    if known:
        signatures = (standard_signature(secret, message_id, timestamp, body) for secret in known)
        headers[SIGNATURE_HEADER] = " ".join(signatures)
        headers[SEED_HEADER] = seed_signature(known[-1], body)
    return headers


class VerificationError(Exception):
    """A webhook is not to be believed; the message says why."""


class MissingHeaderError(VerificationError):
    """A header that is needed is missing or malformed."""


class BadSignatureError(VerificationError):
    """No signature is ours: another secret, or the body is not the very bytes that were received."""


class StaleTimestampError(VerificationError):
    """The attempt's time is too far from now: an old message sent again, or a clock that is wrong."""


class ReplayError(VerificationError):
    """This message was seen before: a retry whose first copy did arrive, or a replay. Answer 200 and do nothing."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that may be believed."""

    id: str
    """The same in every copy of this message."""
    event: EventType | None
    """What it tells; None for an event this version does not know."""
    sent_at: int
    """Epoch seconds of the attempt."""
    payload: dict[str, Any]


def verify(
    body: bytes | str,
    headers: Mapping[str, str],
    secret: str | Iterable[str],
    *,
    seen: Callable[[str], bool] | None = None,
    now: float | None = None,
    tolerance: int = TOLERANCE_SECONDS,
) -> Webhook:
    """Return the webhook that a request carries, if it is ours and fresh.

    Args:
        body: the request's body exactly as it was received; JSON that was parsed and dumped anew will not do.
        headers: the request's headers, in any case.
        secret: the shared secret, or several while one replaces another.
        seen: tells whether an id was handled before.
        now: epoch seconds; the clock's by default.
        tolerance: seconds that an attempt may be old, or ahead.

    Raises:
        MissingHeaderError, StaleTimestampError, BadSignatureError, ReplayError: it is not to be believed.
        SecretError: the secret cannot be used.
    """
    raw = body.encode() if isinstance(body, str) else body
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = _required(given, ID_HEADER), _timestamp(_required(given, TIMESTAMP_HEADER))
    offered = _required(given, SIGNATURE_HEADER).split()
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not any(_matches(offered, standard_signature(one, message_id, timestamp, raw)) for one in secrets):
        raise BadSignatureError("no signature matches: check the secret, and verify the body's bytes as received")
    age = (time.time() if now is None else now) - timestamp
    if abs(age) > tolerance:
        raise StaleTimestampError(f"the message is {age:.0f} s old, and {tolerance} s are allowed: check the clock")
    if seen is not None and seen(message_id):
        raise ReplayError(f"message {message_id} was handled before: answer 200 and do nothing")
    return Webhook(message_id, _event(given.get(EVENT_HEADER.lower(), "")), timestamp, json.loads(raw))


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise MissingHeaderError(f"the header {name} is missing")
    return value


def _timestamp(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise MissingHeaderError(f"the header {TIMESTAMP_HEADER} is not a number of seconds")
    return int(text)


def _matches(offered: Iterable[str], expected: str) -> bool:
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in offered)


def _event(text: str) -> EventType | None:
    return EventType(text) if text in set(EventType) else None
