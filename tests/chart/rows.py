"""A row of the table of renderings: values, and what must be in the manifests, must not be, or why they are refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chart.rendered import BUCKET, RELEASE, Object, of_kind

EXTERNAL: Object = {
    "objectStore": {"endpoint": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1", "existingSecret": "bucket"}
}
"""An external store, with keys."""


@dataclass(frozen=True)
class Row:
    """One rendering.

    Attributes:
        values: the deployer's values.
        has: fragments that objects must contain, by `<kind> <name>`; the name lacks the release's name.
        lacks: fragments that objects must not contain; None means that there is no such object.
        refused: what the refusal must say; then nothing is rendered.
        base: values to which those are added.
    """

    values: Object
    has: Mapping[str, Any] = field(default_factory=dict)
    lacks: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    base: Object = field(default_factory=lambda: BUCKET)

    def faults(self, objects: Sequence[Object]) -> list[str]:
        """Return what is not as the row says."""
        missing = [
            f"{name} lacks {fragment}" for name, fragment in self.has.items() if not _any(objects, name, fragment)
        ]
        return missing + [
            f"{name} has {fragment}" for name, fragment in self.lacks.items() if _any(objects, name, fragment)
        ]


def _any(objects: Sequence[Object], name: str, fragment: object) -> bool:
    kind, _, own = name.partition(" ")
    found = [one for one in of_kind(objects, kind) if one["metadata"]["name"] in {own, f"{RELEASE}-{own}"}]
    return any(fragment is None or contains(one, fragment) for one in found)


def contains(actual: object, fragment: object) -> bool:
    """Return whether an object has what a fragment says: mappings and lists may have more, in any order."""
    if isinstance(fragment, Mapping):
        return isinstance(actual, Mapping) and all(
            name in actual and contains(actual[name], value) for name, value in fragment.items()
        )
    if isinstance(fragment, list):
        return isinstance(actual, list) and all(any(contains(one, part) for one in actual) for part in fragment)
    return bool(actual == fragment)


def pod(fragment: Object) -> Object:
    """The fragment of a Deployment or Job whose pods contain this."""
    return {"spec": {"template": {"spec": fragment}}}


def container(fragment: Object) -> Object:
    """The fragment of a Deployment or Job of whose containers one contains this."""
    return pod({"containers": [fragment]})


def variable(name: str, value: str | None = None) -> Object:
    """The fragment of a Deployment or Job one of whose containers has this environment variable."""
    return container({"env": [{"name": name} if value is None else {"name": name, "value": value}]})


def egress(fragment: Object) -> Object:
    """The fragment of a NetworkPolicy one of whose egress rules contains this."""
    return {"spec": {"egress": [fragment]}}
