"""Signatures of webhooks (HMAC-SHA256): how the operator signs, and verification for consumers. Pure."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stemyard_contract.event_types import EventType

BODY_SIGNATURE_HEADER: Final = "X-Webhook-Signature"
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
EVENT_HEADER: Final = "X-Webhook-Event"
CONTENT_TYPE: Final = "application/json"
TOLERANCE_SECONDS: Final = 300
"""Maximum difference between the timestamp of an attempt and the consumer's clock, in seconds."""

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"


class SecretError(ValueError):
    """The webhook secret is invalid; the message says what to change."""


def standard_key(secret: str) -> bytes:
    """Return the HMAC key of a secret by Standard Webhooks: the base64 after `whsec_`, else its UTF-8 bytes.

    The base64 must have its padding (RFC 4648, section 4): consumers in Go and Rust read no other.

    Raises:
        SecretError: it is empty, or what follows `whsec_` is not padded base64.
    """
    key = _decoded(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else secret.encode()
    if not key:
        raise SecretError("the webhook secret is empty")
    return key


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise SecretError("what follows whsec_ in the webhook secret is not base64") from error
    encoded = base64.b64encode(key).decode()
    if text != encoded and encoded.startswith(text):
        missing = encoded.removeprefix(text)
        raise SecretError(f"the base64 after whsec_ in the webhook secret lacks its padding: append {missing}")
    if text != encoded:
        raise SecretError("the base64 after whsec_ in the webhook secret has stray bits: encode the key again")
    return key


def body_signature(secret: str, body: bytes) -> str:
    """Return the value of `X-Webhook-Signature`; the key is the UTF-8 bytes of the whole secret, prefix included."""
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
        message_id: id shared by all attempts.
        event: type of the event.
        body: the bytes that are sent.
        timestamp: time of this attempt, in epoch seconds.
        secrets: newest first. During rotation all of them sign; `X-Webhook-Signature` uses the oldest.

    Raises:
        SecretError: a secret is invalid.
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
        headers[BODY_SIGNATURE_HEADER] = body_signature(known[-1], body)
    return headers


class VerificationError(Exception):
    """The webhook failed verification; the message says why."""


class MissingHeaderError(VerificationError):
    """A required header is missing or malformed."""


class BadSignatureError(VerificationError):
    """No signature matches: a different secret, or a body that is not the bytes as received."""


class StaleTimestampError(VerificationError):
    """The timestamp is outside the tolerance: a replayed message, or a wrong clock."""


class ReplayError(VerificationError):
    """The message was handled before: a retry after a lost response, or a replay. Answer 200 and do nothing."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A verified webhook."""

    id: str
    """Id shared by all copies of this message; use it to deduplicate."""
    event: EventType | None
    """Type of the event; None if this version does not know it."""
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
    """Return the webhook of a request after verifying its signature and timestamp.

    Args:
        body: the request's body exactly as received, not re-serialised JSON.
        headers: the request's headers, in any case.
        secret: the shared secret, or several during rotation.
        seen: returns whether an id was handled before.
        now: epoch seconds; the system clock by default.
        tolerance: maximum age, or clock skew, of an attempt, in seconds.

    Raises:
        MissingHeaderError, StaleTimestampError, BadSignatureError, ReplayError: verification failed.
        SecretError: the secret is invalid.
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
