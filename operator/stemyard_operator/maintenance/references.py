"""What the SeparationJobs of all watched namespaces refer to in the bucket, in a few hundred bytes for each. Pure."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stemyard_contract.identity import track_of, upload_key
from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.artifacts import objects_of, prefix_of
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.separation import Resource, Separation, separation_of


@dataclass(frozen=True, slots=True)
class Result:
    """The files of a completed SeparationJob's result that were not listed yet."""

    namespace: str
    name: str
    files: tuple[str, ...]


@dataclass
class References:
    """Filled from a listing of the SeparationJobs, then compared with a listing of the bucket."""

    install_id: str
    api_namespace: str
    separations: int = 0
    unreadable: int = 0
    """SeparationJobs of unknown schema."""
    tracks: set[str] = field(default_factory=set)
    """Unfinished tracks: their pods may write to prefixes that no status names yet."""
    prefixes: dict[str, Result | None] = field(default_factory=dict)
    """Prefixes that are referred to; those of results with the files that were not listed yet."""
    _files: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """One copy of each tuple of file names: most results have the same."""

    def add(self, resource: Resource) -> None:
        """Add what a SeparationJob refers to; one of unknown schema counts as unfinished."""
        self.separations += 1
        separation = readable(resource, self.api_namespace)
        if separation is None:
            self.unreadable += 1
            self._add_unreadable(resource)
            return
        self._add_names(objects_of(separation.status, separation.upload, self.install_id))
        self._add_stated(resource)
        if ended(separation):
            self._add_result(separation)
        else:
            self.tracks.add(separation.track_id)

    def add_upload(self, key: str) -> None:
        """Add a file that is being uploaded."""
        self._add_names([key])

    def listed(self, prefix: str, key: str) -> None:
        """Record that the bucket has an object."""
        result = self.prefixes.get(prefix)
        if result is not None:
            files = tuple(file for file in result.files if file != key[len(prefix) :])
            self.prefixes[prefix] = Result(result.namespace, result.name, files) if files else None

    def hollow(self) -> tuple[tuple[str, str], ...]:
        """Return namespace and name of the completed SeparationJobs with objects that were not listed."""
        return tuple({(result.namespace, result.name): None for result in self.prefixes.values() if result})

    def _add_names(self, names: Iterable[str]) -> None:
        for name in names:
            self.prefixes.setdefault(prefix_of(name), None)

    def _add_result(self, separation: Separation) -> None:
        files: dict[str, list[str]] = {}
        for key in keys_of_result(separation):
            files.setdefault(prefix_of(key), []).append(key.rpartition("/")[2])
        for prefix, names in files.items():
            shared = self._files.setdefault(tuple(names), tuple(names))
            self.prefixes[prefix] = Result(sys.intern(separation.namespace), separation.name, shared)

    def _add_stated(self, resource: Resource) -> None:
        """Add whatever a status names, even if it does not count: in doubt an object is kept."""
        own = f"{self.install_id}/"
        self._add_names(
            text for text in _texts(resource.get("status")) if text.startswith(own) and text.count("/") >= 3
        )

    def _add_unreadable(self, resource: Resource) -> None:
        metadata = resource["metadata"]
        labels = metadata.get("labels") or {}
        self.tracks.add(track_of(metadata["namespace"], metadata["name"], labels, self.api_namespace))
        self._add_stated(resource)
        upload = _value(_value(resource.get("spec"), "source"), "upload")
        owner, upload_id = _value(upload, "owner"), _value(upload, "id")
        if isinstance(owner, str) and isinstance(upload_id, str):
            self._add_names([upload_key(self.install_id, owner, upload_id)])


def readable(resource: Resource, api_namespace: str) -> Separation | None:
    """Return the typed view of a SeparationJob, None if its schema is unknown."""
    try:
        return separation_of(resource, api_namespace)
    except (KeyError, TypeError, ValueError):
        return None


def keys_of_result(separation: Separation) -> tuple[str, ...]:
    """Return the keys of a completed SeparationJob's result; none if it did not complete."""
    result = separation.status.result
    if result is None or separation.status.phase is not Phase.COMPLETED or not ended(separation):
        return ()
    return (result.manifest_key, *(stem.key for stem in result.stems.values()))


def _texts(value: object) -> Iterator[str]:
    """Yield all strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _value(document: object, name: str) -> object:
    return document.get(name) if isinstance(document, Mapping) else None
