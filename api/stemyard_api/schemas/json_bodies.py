"""JSON bodies of requests: RFC 8259 without repeated names, whose meaning would depend on the parser."""

import json
from collections.abc import Sequence
from typing import Any


def load_json(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a body.

    Raises:
        json.JSONDecodeError: it is no JSON, or an object in it has a name twice.
    """
    return json.loads(body, object_pairs_hook=_object)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise json.JSONDecodeError("a name occurs twice", "", 0)
    return found
