"""Base models of the SeparationJob resource, and its CEL validation rules."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

PATTERN_MESSAGE: Final = "x-stemyard-pattern-message"
"""Key of a field's schema: the sentence by which the CRD refuses what does not match the pattern."""


class Resource(BaseModel):
    """Base model of a part of the resource: camelCase in JSON."""

    # Unknown fields are ignored: during an upgrade an older reader sees fields of a newer writer.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True, extra="ignore"
    )

    def dump(self) -> dict[str, Any]:
        """Return JSON data in camelCase, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Value(Resource):
    """Base model of an immutable part, which can be shared as a default: pydantic copies only mutable defaults."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


def rule(rule: str, message: str) -> JsonDict:
    """Return a CEL validation rule and the message shown if it is violated."""
    return {"rule": rule, "message": message}


def explained(message: str) -> JsonDict:
    """Return what makes the CRD refuse by a sentence, instead of by the pattern of the same field."""
    return {PATTERN_MESSAGE: message}
