"""Reads a chart's commented values: the path, default, description and schema of each, in the order of the file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

_ANNOTATION: Final = "@schema "
"""Start of the comment line that holds a value's schema, as a YAML mapping."""


class UndescribedValueError(ValueError):
    """A value has no description above it."""


class AnnotationError(ValueError):
    """An `@schema` comment is not a YAML mapping."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a chart.

    Attributes:
        path: keys from the top.
        default: the chart's default.
        description: the comment above it, in one line.
        children: the values below it; empty for a value that is set as a whole.
        schema: the `@schema` comment above it; empty if there is none.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    children: tuple["Value", ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The path in the syntax of `helm --set`."""
        return ".".join(self.path)

    def leaves(self) -> Iterator["Value"]:
        """Yield the values that are set as a whole, below this one or itself."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def read_values(text: str) -> tuple[Value, ...]:
    """Return the top-level values of a commented values file.

    A mapping with an `@schema` comment is one value: its content needs no descriptions.

    Raises:
        UndescribedValueError: a value has no description directly above it.
        AnnotationError: an `@schema` comment is not a YAML mapping.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise UndescribedValueError("the values file is not a mapping")
    return tuple(_values(root, yaml.safe_load(text), (), text.splitlines()))


def _values(node: yaml.MappingNode, data: dict[str, Any], parent: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, child in node.value:
        path = (*parent, str(key.value))
        default = data[key.value]
        comment = _comment(lines, key.start_mark.line)
        schema = _schema(comment, path)
        children = () if schema else _children(child, default, path, lines)
        yield Value(path, default, _description(comment, path), children, schema)


def _children(node: yaml.Node, default: object, path: tuple[str, ...], lines: list[str]) -> tuple[Value, ...]:
    if not isinstance(node, yaml.MappingNode) or not isinstance(default, dict):
        return ()
    return tuple(_values(node, default, path, lines))


def _comment(lines: list[str], line: int) -> list[str]:
    """Return the comment lines directly above a line."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [text.strip().removeprefix("#").strip() for text in lines[first:line]]


def _description(comment: list[str], path: tuple[str, ...]) -> str:
    description = [text for text in comment if not text.startswith(_ANNOTATION)]
    if not description:
        raise UndescribedValueError(f"{'.'.join(path)}: write a comment above it that describes it")
    return " ".join(description)


def _schema(comment: list[str], path: tuple[str, ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for text in comment:
        if not text.startswith(_ANNOTATION):
            continue
        try:
            schema |= yaml.safe_load(text.removeprefix(_ANNOTATION))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise AnnotationError(f"{'.'.join(path)}: {text!r} is not a YAML mapping") from error
    return schema
