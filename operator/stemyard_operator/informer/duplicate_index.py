"""Index of separations of the same recording that request the same result, once fetch has identified the source."""

from collections import defaultdict
from collections.abc import Iterable

from pydantic import ValidationError

from stemyard_contract.identity import recording_keys
from stemyard_contract.separationjob import LABEL_OWNER, ConditionType, Phase
from stemyard_operator.model.conditions import ended, holds
from stemyard_operator.model.observed import Duplicate
from stemyard_operator.model.separation import Resource, Separation, separation_of

_Found = tuple[str | None, str | None]
"""Media id and SHA-256 of the samples."""


class DuplicateIndex:
    """Covers all SeparationJobs whose source is identified, by uid. Namespaces and owners are never mixed."""

    def __init__(self, default_model: str) -> None:
        self._default_model = default_model
        self._found: dict[str, _Found] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._uids: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, resource: Resource) -> None:
        """Index a SeparationJob by the source that its status names."""
        source = (resource.get("status") or {}).get("source") or {}
        found = (source.get("mediaId"), source.get("sha256"))
        if not any(found) or self._found.get(resource["metadata"]["uid"]) == found:
            return
        try:
            self.note(separation_of(resource), *found)
        except ValidationError:
            return

    def note(self, separation: Separation, media_id: str | None, audio_sha256: str | None) -> None:
        """Index a SeparationJob by the source that fetch found, whether its status names that yet or not."""
        uid, found = separation.uid, (media_id, audio_sha256)
        if self._found.get(uid) == found:
            return
        self.forget(uid)
        self._found[uid] = found
        owner = separation.labels.get(LABEL_OWNER)
        digests = recording_keys(separation.spec, self._default_model, owner, *found)
        self._keys[uid] = tuple(f"{separation.namespace}/{digest}" for digest in digests)
        for key in self._keys[uid]:
            self._uids[key].add(uid)

    def forget(self, uid: str) -> None:
        """Drop a deleted SeparationJob."""
        self._found.pop(uid, None)
        for key in self._keys.pop(uid, ()):
            self._uids[key].discard(uid)
            if not self._uids[key]:
                del self._uids[key]

    def others(self, uid: str) -> set[str]:
        """Return the uids of the others of the same recording that request the same result."""
        return {other for key in self._keys.get(uid, ()) for other in self._uids[key]} - {uid}


def duplicates_of(own: Separation, others: Iterable[Separation]) -> tuple[Duplicate, ...]:
    """Return what the others offer, the oldest first: their stems, or stems to wait for."""
    return tuple(_offer_of(own, other) for other in sorted(others, key=lambda other: other.created))


def _offer_of(own: Separation, other: Separation) -> Duplicate:
    result, status = other.status.result, other.status
    if ended(other) and status.phase is Phase.COMPLETED and result is not None and not other.deleting:
        started, finished = status.started_at or other.created, status.finished_at or other.created
        seconds = result.processing_seconds
        if seconds is None:
            seconds = max(0.0, (finished - started).total_seconds())
        return Duplicate(other.name, other.uid, result.manifest_key, round(seconds, 3))
    return Duplicate(other.name, other.uid, first=_goes_first(own, other))


def _goes_first(own: Separation, other: Separation) -> bool:
    """Return whether the other is at work and this one waits for it.

    Only a separation without a separate Job waits, and only for one that has such a Job or is ahead of it in the queue:
    a strict order, so that no two wait for each other. One of another profile, which may need other nodes, is waited
    for only once it was admitted.
    """
    if ended(other) or other.deleting or other.spec.cancel or other.spec.suspend:
        return False
    admitted = holds(other.status, ConditionType.ADMITTED)
    attempts = other.status.attempts
    at_work = other.status.run == other.spec.run and attempts is not None and attempts.separate > 0
    return (at_work or other.place < own.place) and (admitted or other.spec.profile == own.spec.profile)
