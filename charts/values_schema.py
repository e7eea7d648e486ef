"""Makes values.schema.json from the commented values: each value's default, description and `@schema` comment."""

from collections.abc import Iterable

from charts.described_values import Value
from charts.value_types import Schema, closed, resolve


class UnknownTypeError(ValueError):
    """The `@schema` comment of a value refers to a type that does not exist."""


def values_schema(values: Iterable[Value], title: str) -> Schema:
    """Return the JSON schema (draft 7) of a chart's values; it refuses unknown values.

    Raises:
        UnknownTypeError: an `@schema` comment refers to a type that does not exist.
    """
    properties = {value.path[-1]: _schema(value) for value in values}
    properties["global"] = {"type": "object", "description": "Global values of a parent chart; none is used."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, **closed(properties)}


def _schema(value: Value) -> Schema:
    described: Schema = {"description": value.description}
    if value.children:
        return described | closed({child.path[-1]: _schema(child) for child in value.children})
    try:
        own: Schema = resolve(value.schema)
    except KeyError as error:
        raise UnknownTypeError(f"{value.name}: there is no type {error}") from error
    return described | _inferred(value.default) | own


def _inferred(default: object) -> Schema:
    """Return the type of a default value."""
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, int):
        return {"type": "integer"}
    if isinstance(default, list):
        return {"type": "array", "items": {"type": "string"}}
    if isinstance(default, dict):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    return {"type": "string"}
