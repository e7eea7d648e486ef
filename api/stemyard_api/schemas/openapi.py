"""The OpenAPI document: FastAPI's, completed with what it cannot derive from the routes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from stemyard_api.schemas.examples import (
    DEAD_LETTERS,
    DELIVERIES,
    JOBS,
    REGISTERED_WEBHOOK,
    REGISTERED_WEBHOOKS,
    STREAM_DATA,
    TEST_DELIVERY,
    WEBHOOK_WITH_SECRET,
    WEBHOOKS,
)
from stemyard_api.schemas.portable import make_portable
from stemyard_api.schemas.responses import Problem
from stemyard_api.schemas.states import STREAM_EVENTS
from stemyard_api.schemas.webhook_bodies import CompletedWebhook, FailedWebhook, ProcessingWebhook, WebhookTest
from stemyard_contract.event_types import ENDS, EventType

_SCHEMA: Final = "#/components/schemas/{model}"
_WEBHOOKS: Final = {
    EventType.STARTED: ProcessingWebhook,
    EventType.PROGRESS: ProcessingWebhook,
    EventType.COMPLETED: CompletedWebhook,
    EventType.FAILED: FailedWebhook,
    EventType.CANCELLED: FailedWebhook,
    EventType.TEST: WebhookTest,
}
_ADDED: Final = (Problem, *STREAM_EVENTS.values(), *dict.fromkeys(_WEBHOOKS.values()))
_SECURITY: Final[list[dict[str, list[str]]]] = [{"APIKeyHeader": []}, {"Bearer": []}]
_BEARER: Final = {"type": "http", "scheme": "bearer", "description": "The same key, as a bearer token."}

Document = dict[str, Any]


def _header(description: str, kind: str = "string", **more: str) -> Document:
    return {"description": description, "schema": {"type": kind, **more}}


_HEADERS: Final = {
    "X-Request-Id": _header("Id of the request, also in the service's logs; the caller's own if it sent one."),
    "RateLimit": _header("Remaining requests (draft-ietf-httpapi-ratelimit-headers-10)."),
    "RateLimit-Policy": _header("The rate limit that applies to the request."),
    "Retry-After": _header("Seconds after which the same request may succeed.", "integer"),
    "WWW-Authenticate": _header("How to authenticate."),
    "Location": _header("Path of the track or webhook."),
    "Cache-Status": _header("Whether the result existed: RFC 9211, `stemyard; hit` or `stemyard; fwd=miss`."),
    "Idempotency-Replayed": _header("`true` if an earlier request with this Idempotency-Key led to this answer."),
}
_WITH_NULL: Final = {
    "Jobs": JOBS,
    "Deliveries": DELIVERIES,
    "DeadLetters": DEAD_LETTERS,
    "Delivery": TEST_DELIVERY,
    "WebhookRegistration": REGISTERED_WEBHOOK,
    "WebhookRegistrationWithSecret": WEBHOOK_WITH_SECRET,
    "RegisteredWebhooks": REGISTERED_WEBHOOKS,
}
"""Examples with null, which FastAPI drops from its document."""
_OF_EVERY_KEY: Final = ("RateLimit", "RateLimit-Policy")
_OF_STATUS: Final = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}
_OF_PLACING: Final = ("Location", "Cache-Status", "Idempotency-Replayed")
_OF_PATH: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "/separate-audio": {"200": _OF_PLACING, "202": _OF_PLACING},
    "/webhooks": {"201": ("Location", "Idempotency-Replayed")},
}
"""Further headers of an operation's responses, by status."""

_WEBHOOK_TAG: Final = "webhook events"
"""Not `webhooks`: generators name a class after a tag, and the operations of the two would overwrite each other."""
_TAGS: Final = {
    "separations": "Request separations.",
    "jobs": "Tracks: their state, links to their stems, and what can be done with them.",
    "shares": "Links to results for people without a key, and archives of stems.",
    "uploads": "Upload a file to be separated.",
    "capabilities": "What this deployment offers.",
    "queue": "Waiting tracks.",
    "keys": "Usage and data of API keys.",
    "admin": "For admins: all tracks of the installation, and their priority.",
    "webhooks": "Webhooks of all tracks of a key; deliveries, their redelivery and tests.",
    "health": "State of the service.",
    _WEBHOOK_TAG: "Requests that the service sends to your consumer.",
}

_SIGNING: Final = {
    "X-Webhook-Signature": "`sha256=` and the hex HMAC-SHA256 of the body, keyed with the whole secret.",
    "webhook-id": "Id of the message, the same for every attempt (Standard Webhooks).",
    "webhook-timestamp": "Time of this attempt, in epoch seconds.",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; several, separated by spaces.",
}
"""The signatures are sent if there is a secret; id and timestamp always."""


def complete(document: Document) -> Document:
    """Add to FastAPI's document the problem schema, response headers, the bearer scheme and webhooks."""
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for model in _ADDED:
        schema = TypeAdapter(model).json_schema(ref_template=_SCHEMA)
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    for name, data in STREAM_DATA.items():
        schemas[name]["examples"] = [data]
    parts.setdefault("securitySchemes", {})["Bearer"] = _BEARER
    parts["headers"] = _HEADERS
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _describe(operation, _OF_PATH.get(path, {}))
    document["webhooks"] = {event.value: {"post": _webhook(event)} for event in EventType}
    document["servers"] = [{"url": "/"}]
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    make_portable(document)
    return document


def _describe(operation: Document, of_status: Mapping[str, tuple[str, ...]]) -> None:
    keyed = "security" in operation
    if keyed:
        operation["security"] = _SECURITY
    for status, response in operation["responses"].items():
        names = ["X-Request-Id", *_OF_STATUS.get(status, ())]
        names += _OF_EVERY_KEY if keyed and status != "401" else ()
        names += of_status.get(status, ())
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        for content in response.get("content", {}).values():
            model = content["schema"].get("$ref", "").rpartition("/")[2]
            if model in _WITH_NULL:
                content["example"] = _WITH_NULL[model]


def _exactly(value: str) -> Document:
    """Return the schema of one value; as an enum, generated Python would have a parameter without a type."""
    return {"type": "string", "pattern": f"^{re.escape(value)}$"}


def _receive(event: EventType) -> str:
    return "receive" + "".join(part.title() for part in event.value.split("."))


def _webhook(event: EventType) -> Document:
    model, kept = _WEBHOOKS[event].__name__, event in ENDS
    content = {"schema": {"$ref": _SCHEMA.format(model=model)}, "example": WEBHOOKS[model]}
    given = [{"name": "X-Webhook-Event", "in": "header", "required": True, "schema": _exactly(event.value)}]
    signing = [
        {"name": name, "in": "header", "description": text, "required": not name.endswith("ignature")}
        for name, text in _SIGNING.items()
    ]
    return {
        "summary": f"Event {event.value}",
        "description": "POSTed to WEBHOOK_URL, to registered webhooks and to the `webhook_url` of requests"
        + (", at least once: expect duplicates." if kept else " that subscribe to this event, once, without retries."),
        "operationId": _receive(event),
        "x-internal": True,  # generators leave them out: a client sends none of them
        "tags": [_WEBHOOK_TAG],
        "parameters": [*given, *({**one, "schema": {"type": "string"}} for one in signing)],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "Delivered"},
            "410": {"description": "The consumer is gone: no further attempts"},
            "default": {"description": "Retried, up to ten attempts within four days" if kept else "Not retried"},
        },
    }
