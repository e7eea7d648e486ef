"""Integer types whose JSON and Python forms differ."""

from typing import Final

from pydantic import BeforeValidator

_EXACT: Final = 2**53
"""Larger JSON numbers with a fraction are not exact integers (RFC 8259)."""


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


WHOLE: Final = BeforeValidator(_whole)
"""On a StrictInt: accepts what JSON Schema calls an integer: 320.0, but not true or "320"."""
