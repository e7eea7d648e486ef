"""Index of separations of the same recording that request the same result, once fetch has identified the source."""

from collections import defaultdict
from collections.abc import Iterable

from pydantic import ValidationError

from stemyard_contract.identity import recording_key
from stemyard_contract.separationjob import ConditionType, Phase
from stemyard_operator.model.conditions import ended, holds
from stemyard_operator.model.observed import Duplicate
from stemyard_operator.model.separation import Resource, Separation, separation_of


class DuplicateIndex:
    """Covers all SeparationJobs whose audio is known, by uid. Namespaces and owners are never mixed."""

    def __init__(self, default_model: str, api_namespace: str) -> None:
        self._default_model = default_model
        self._api_namespace = api_namespace
        self._audio: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._uids: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, resource: Resource) -> None:
        """Index a SeparationJob by the audio that its status names."""
        audio = ((resource.get("status") or {}).get("source") or {}).get("sha256")
        if not audio or self._audio.get(resource["metadata"]["uid"]) == audio:
            return
        try:
            self.note(separation_of(resource, self._api_namespace), audio)
        except ValidationError:
            return

    def note(self, separation: Separation, audio_sha256: str) -> None:
        """Index a SeparationJob by the audio that fetch found, whether its status names that yet or not."""
        uid = separation.uid
        if self._audio.get(uid) == audio_sha256:
            return
        self.forget(uid)
        self._audio[uid] = audio_sha256
        digest = recording_key(separation.spec, self._default_model, separation.owner, audio_sha256)
        key = self._keys[uid] = f"{separation.namespace}/{digest}"
        self._uids[key].add(uid)

    def forget(self, uid: str) -> None:
        """Drop a deleted SeparationJob."""
        self._audio.pop(uid, None)
        key = self._keys.pop(uid, None)
        if key is not None:
            self._uids[key].discard(uid)
            if not self._uids[key]:
                del self._uids[key]

    def others(self, uid: str) -> set[str]:
        """Return the uids of the others of the same recording that request the same result."""
        key = self._keys.get(uid)
        return self._uids[key] - {uid} if key is not None else set()


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
    return (at_work or other.queue_key < own.queue_key) and (admitted or other.spec.profile == own.spec.profile)
