"""Hooks of schemathesis, for rules that the OpenAPI document states in words. Loaded by its process.

An Idempotency-Key must not be reused for another request; a separation has exactly one source.
"""

import re
import uuid
from typing import Any

import schemathesis

_DECENT = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?")


_STREAM = ("paths", "/job/{track_id}/events", "get", "responses", "200", "content", "text/event-stream")


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Describe each event of a stream; OpenAPI has a place for that (`itemSchema`) only from 3.2 on."""
    content: Any = raw_schema
    for name in _STREAM:
        content = content[name]
    properties = {
        "event": {"enum": list(content["x-event-data"])},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    }
    del content["schema"]  # of the whole stream, as text
    content["itemSchema"] = {"type": "object", "properties": properties, "required": ["event", "data"]}


_SOURCES = ("search_query", "url", "upload_id", "object")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Leave a separation one source, so that valid requests are not all refused for having several.

    What is no text is what makes a request invalid, and stays.
    """
    if isinstance(body, dict) and len(given := [name for name in _SOURCES if isinstance(body.get(name), str)]) > 1:
        return {name: value for name, value in body.items() if name not in given[1:]}
    return body


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make every valid key unique; invalid ones stay unchanged."""
    for name, value in (case.headers or {}).items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and _DECENT.fullmatch(value):
            case.headers[name] = f"{value}-{uuid.uuid4()}"
