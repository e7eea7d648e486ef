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
    section = _section(values)
    section["properties"]["global"] = {
        "type": "object",
        "description": "Global values of a parent chart; none is used.",
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, **section}


def _section(values: Iterable[Value]) -> Schema:
    """Return the schema of a section. Its own sections are required: Helm removes one that is null."""
    values = tuple(values)
    sections = [value.path[-1] for value in values if isinstance(value.default, dict) and value.default]
    return closed({value.path[-1]: _schema(value) for value in values}, sections)


def _schema(value: Value) -> Schema:
    described: Schema = {"description": value.description}
    if value.children:
        return described | _section(value.children)
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
