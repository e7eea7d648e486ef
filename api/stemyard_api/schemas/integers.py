"""Integer types whose JSON and Python forms differ."""

from typing import Final

from pydantic import BeforeValidator

_EXACT: Final = 2**53
"""Beyond it a JSON number with a fraction is no exact integer any more (RFC 8259)."""


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


WHOLE: Final = BeforeValidator(_whole)
"""On a StrictInt: takes what JSON Schema calls an integer. 320.0 is one; true and "320" are none."""
