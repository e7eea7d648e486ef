"""The OpenAPI document: FastAPI's, completed with what it cannot derive from the routes."""

from typing import Any, Final

from pydantic import TypeAdapter

from stemyard_api.schemas.examples import WEBHOOKS
from stemyard_api.schemas.responses import Problem
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
_ADDED: Final = (Problem, *dict.fromkeys(_WEBHOOKS.values()))
_SECURITY: Final[list[dict[str, list[str]]]] = [{"APIKeyHeader": []}, {"Bearer": []}]
_BEARER: Final = {"type": "http", "scheme": "bearer", "description": "The same key, for clients that know only this."}

Document = dict[str, Any]


def _header(description: str, kind: str = "string", **more: str) -> Document:
    return {"description": description, "schema": {"type": kind, **more}}


_HEADERS: Final = {
    "X-Request-Id": _header("Id of the request, in the service's logs too; the caller's where it sent one."),
    "RateLimit": _header("What is left of the limit (draft-ietf-httpapi-ratelimit-headers-10)."),
    "RateLimit-Policy": _header("The limit that the request was counted by."),
    "Retry-After": _header("Seconds after which the same request may work.", "integer"),
    "WWW-Authenticate": _header("How to authenticate."),
    "Location": _header("Where the track is."),
    "Cache-Status": _header("Whether the result existed: RFC 9211, `stemyard; hit` or `stemyard; fwd=miss`."),
    "Idempotency-Replayed": _header("`true` where the Idempotency-Key had started this track before."),
}
_OF_EVERY_KEY: Final = ("RateLimit", "RateLimit-Policy")
_OF_STATUS: Final = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}
_OF_PLACING: Final = ("Location", "Cache-Status", "Idempotency-Replayed")

_SIGNING: Final = {
    "X-Webhook-Signature": "`sha256=` and the hex HMAC-SHA256 of the body, keyed with WEBHOOK_SECRET.",
    "webhook-id": "The same in every copy of this message (Standard Webhooks).",
    "webhook-timestamp": "Time of this attempt, in epoch seconds.",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; several, parted by spaces.",
}
"""Sent where WEBHOOK_SECRET is set; id and timestamp always."""


def complete(document: Document) -> Document:
    """Add to FastAPI's document the problem schema, response headers, the bearer scheme and webhooks."""
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for model in _ADDED:
        schema = TypeAdapter(model).json_schema(ref_template=_SCHEMA)
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    parts.setdefault("securitySchemes", {})["Bearer"] = _BEARER
    parts["headers"] = _HEADERS
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _describe(operation, placing=path == "/separate-audio")
    document["webhooks"] = {event.value: {"post": _webhook(event)} for event in EventType}
    return document


def _describe(operation: Document, *, placing: bool) -> None:
    keyed = "security" in operation
    if keyed:
        operation["security"] = _SECURITY
    for status, response in operation["responses"].items():
        names = ["X-Request-Id", *_OF_STATUS.get(status, ())]
        names += _OF_EVERY_KEY if keyed and status != "401" else ()
        names += _OF_PLACING if placing and status in {"200", "202"} else ()
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _webhook(event: EventType) -> Document:
    model, kept = _WEBHOOKS[event].__name__, event in ENDS
    content = {"schema": {"$ref": _SCHEMA.format(model=model)}, "example": WEBHOOKS[model]}
    given = [{"name": "X-Webhook-Event", "in": "header", "required": True, "schema": {"const": event.value}}]
    signing = [
        {"name": name, "in": "header", "description": text, "required": not name.endswith("ignature")}
        for name, text in _SIGNING.items()
    ]
    return {
        "summary": f"Event {event.value}",
        "description": "POSTed to WEBHOOK_URL and to addresses that requests named"
        + (", at least once: expect duplicates." if kept else ", where they ask for this event; once, and not again."),
        "tags": ["webhooks"],
        "parameters": [*given, *({**one, "schema": {"type": "string"}} for one in signing)],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "Delivered"},
            "410": {"description": "Nobody listens any more: given up"},
            "default": {"description": "Tried again, up to ten times within four days" if kept else "Not told"},
        },
    }
