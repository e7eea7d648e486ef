"""Base of everything within a SeparationJob resource, and the form of its CEL rules."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


class Resource(BaseModel):
    """A part of a resource: camelCase in its JSON form."""

    # Unknown fields are ignored: during an upgrade an older reader meets fields of a newer writer.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True, extra="ignore"
    )

    def dump(self) -> dict[str, Any]:
        """Return the JSON form, camelCase, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Value(Resource):
    """A part that never changes, and so serves as the default of many wholes: pydantic copies only what may change."""

    model_config = ConfigDict(frozen=True)


def rule(rule: str, message: str) -> JsonDict:
    """Return a CEL rule, and what is said when it does not hold."""
    return {"rule": rule, "message": message}
