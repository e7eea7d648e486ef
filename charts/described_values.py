"""Reads a chart's commented values: each value's path, default and description, in the order of the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

OPAQUE: Final = frozenset({"resources", "profiles", "podLabels", "nodeSelector", "labels"})
"""Keys whose content is described as a whole, not value by value."""


class UndescribedValueError(ValueError):
    """A value has no comment above it."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a chart.

    Attributes:
        path: keys from the top.
        default: what it is when nobody sets it.
        description: the comment above it, in one line.
        children: the values below it; empty for a value that is set as a whole.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    children: tuple["Value", ...] = ()

    @property
    def name(self) -> str:
        """The path as `--set` takes it."""
        return ".".join(self.path)

    def leaves(self) -> Iterator["Value"]:
        """Yield the values that are set as a whole, below this one or itself."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def read_values(text: str) -> tuple[Value, ...]:
    """Return the top-level values of a commented values file.

    Raises:
        UndescribedValueError: a value has no comment directly above it.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise UndescribedValueError("the values file is not a mapping")
    return tuple(_values(root, yaml.safe_load(text), (), text.splitlines()))


def _values(node: yaml.MappingNode, data: dict[str, Any], parent: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, child in node.value:
        path = (*parent, str(key.value))
        default = data[key.value]
        yield Value(path, default, _comment(lines, key.start_mark.line, path), _children(child, default, path, lines))


def _children(node: yaml.Node, default: object, path: tuple[str, ...], lines: list[str]) -> tuple[Value, ...]:
    if not isinstance(node, yaml.MappingNode) or not isinstance(default, dict) or path[-1] in OPAQUE:
        return ()
    return tuple(_values(node, default, path, lines))


def _comment(lines: list[str], line: int, path: tuple[str, ...]) -> str:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    if first == line:
        raise UndescribedValueError(f"{'.'.join(path)}: write a comment above it that says what it does")
    return " ".join(text.strip().removeprefix("#").strip() for text in lines[first:line])
