"""Placement rules: whether an existing track satisfies an order, and how to change it if not. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from stemyard_api.clients.redis import MirrorEntry
from stemyard_api.errors import BeingDeletedError, ClaimsFullError, NameConflictError, TrackCompletedError
from stemyard_api.services.order import Order
from stemyard_api.services.records import joinable_record
from stemyard_contract.identity import spec_cache_key
from stemyard_contract.mirror import MirrorRecord, record_of
from stemyard_contract.separationjob import Claim, Phase, SeparationJobSpec

CLAIMS_LIMIT: Final = 64
"""Maximum number of claims of a SeparationJob; further keys are served without a claim."""

Operation = dict[str, Any]
"""One operation of a JSON patch (RFC 6902)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A mirrored track that answers an order without a write."""

    record: MirrorRecord


@dataclass(frozen=True, slots=True)
class Miss:
    """An order whose track must be created, joined or run again, and the mirror's entry of the track."""

    order: Order
    reading: MirrorEntry


@dataclass(frozen=True, slots=True)
class PlacedTrack:
    """The track that answers an order, and whether this order started its current run."""

    record: MirrorRecord
    started: bool


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """How to serve an order from an existing track.

    Attributes:
        record: the track as it was read.
        patch: operations to apply first; empty if it can be served unchanged.
        runs_again: whether the patch starts another run.
    """

    record: MirrorRecord
    patch: list[Operation]
    runs_again: bool


def plan_join(resource: Mapping[str, Any], order: Order, default_model: str, now: float) -> JoinPlan:
    """Return how to serve an order from this SeparationJob.

    Args:
        resource: the SeparationJob as the API server returns it.
        order: the request.
        default_model: the model that `auto` selects.
        now: epoch seconds.

    Raises:
        BeingDeletedError: it is being deleted; the name will be free soon.
        NameConflictError: it has the track's name but another content, or cannot be read.
        ClaimsFullError: no claim is left for the order's webhook.
    """
    if resource["metadata"].get("deletionTimestamp"):
        raise BeingDeletedError
    record = joinable_record(resource)
    spec = SeparationJobSpec.model_validate(resource["spec"])
    expected = (order.track_id, order.owner, order.content_key)
    if (record.track_id, record.owner, spec_cache_key(spec, default_model)) != expected:
        raise NameConflictError(f"The SeparationJob {record.name} exists and requests something else.")
    again = _runs_again(record, order.refresh, now)
    changes = _run_operations(resource, record) if again else []
    if (again and record.priority != order.priority) or _more_urgent(record, order):
        changes += priority_operations(record, order.priority)
    changes += _claim_operations(record, order.claim)
    return JoinPlan(record, [test_operation("/metadata/uid", record.uid), *changes] if changes else [], again)


def place(order: Order, reading: MirrorEntry, now: float) -> Hit | Miss:
    """Return whether the mirrored track answers an order without a write.

    Args:
        order: the request.
        reading: the mirror's entry of the order's track.
        now: epoch seconds.
    """
    record = reading.current
    return Hit(record) if record is not None and _answers(record, order, now) else Miss(order, reading)


def _answers(record: MirrorRecord, order: Order, now: float) -> bool:
    return (
        record.cache_key == order.content_key
        and (record.track_id, record.owner) == (order.track_id, order.owner)
        and order.key_id in record.claims
        and not _changes_webhook(record, order.claim)
        and not _more_urgent(record, order)
        and not _runs_again(record, order.refresh, now)
    )


def is_hit(record: MirrorRecord) -> bool:
    """Whether the track is completed, so that its result is returned immediately."""
    return record.finished and record.phase is Phase.COMPLETED


def cache_result(placed: PlacedTrack) -> Literal["hit", "coalesced", "miss"]:
    """Return the cache result of a request: completed track, joined track or started track."""
    if is_hit(placed.record):
        return "hit"
    return "miss" if placed.started else "coalesced"


def cache_status(placed: PlacedTrack, refresh: bool, now: float) -> str:
    """Return the Cache-Status header (RFC 9211) of a response."""
    if is_hit(placed.record):
        expires_at = placed.record.expires_at
        return "stemyard; hit" if expires_at is None else f"stemyard; hit; ttl={int(expires_at - now)}"
    if not placed.started:
        return "stemyard; fwd=miss; collapsed"
    return "stemyard; fwd=request" if refresh else "stemyard; fwd=miss"


def _runs_again(record: MirrorRecord, refresh: bool, now: float) -> bool:
    if not record.finished:
        return record.cancel
    if record.phase is not Phase.COMPLETED or refresh:
        return True
    return record.expires_at is not None and record.expires_at <= now


def _more_urgent(record: MirrorRecord, order: Order) -> bool:
    """Return whether an order raises a run's priority; it is never lowered."""
    return not record.finished and order.priority > record.priority


def priority_operations(record: MirrorRecord, priority: int) -> list[Operation]:
    """Return the operations that change a priority, unless it has changed since the track was read."""
    return [
        test_operation("/spec/priority", record.priority),
        {"op": "replace", "path": "/spec/priority", "value": priority},
    ]


def retry_patch(resource: Mapping[str, Any], key_id: str) -> list[Operation]:
    """Return the patch that starts another run of a failed or cancelled track; empty if it is under way.

    Raises:
        TrackCompletedError: the track is completed.
    """
    record = record_of(resource)
    if record.finished and record.phase is Phase.COMPLETED:
        raise TrackCompletedError
    changes = _run_operations(resource, record) if record.finished or record.cancel else []
    changes += _claim_operations(record, Claim(key=key_id))
    return [test_operation("/metadata/uid", record.uid), *changes] if changes else []


def _run_operations(resource: Mapping[str, Any], record: MirrorRecord) -> list[Operation]:
    # A failed test means that another request has already started the next run. What is stored may be lower than the
    # run that has begun.
    return [
        test_operation("/spec/run", resource["spec"].get("run", 1)),
        {"op": "replace", "path": "/spec/run", "value": record.run + 1},
        {"op": "add", "path": "/spec/cancel", "value": False},
    ]


def _claim_operations(record: MirrorRecord, claim: Claim) -> list[Operation]:
    if claim.key in record.claims:
        return _webhook_operations(record, claim)
    if len(record.claims) >= CLAIMS_LIMIT:
        if claim.webhook is not None:
            raise ClaimsFullError
        return []
    if not record.claims:
        return [{"op": "add", "path": "/spec/claims", "value": [claim.dump()]}]
    return [{"op": "add", "path": "/spec/claims/-", "value": claim.dump()}]


def _webhook_operations(record: MirrorRecord, claim: Claim) -> list[Operation]:
    """Return the patch that changes the webhook or its events in the key's existing claim."""
    if not _changes_webhook(record, claim):
        return []
    path = f"/spec/claims/{record.claims.index(claim.key)}"
    changes: list[Operation] = [{"op": "add", "path": f"{path}/webhook", "value": claim.webhook}]
    if claim.webhook_events is not None:
        changes.append({"op": "add", "path": f"{path}/webhookEvents", "value": claim.webhook_events})
    elif claim.key in record.webhook_events:
        changes.append({"op": "remove", "path": f"{path}/webhookEvents"})
    return [test_operation(f"{path}/key", claim.key), *changes]


def _changes_webhook(record: MirrorRecord, claim: Claim) -> bool:
    known = (record.webhooks.get(claim.key), record.webhook_events.get(claim.key))
    return claim.webhook is not None and (claim.webhook, claim.webhook_events) != known


def annotation_patch(resource: Mapping[str, Any], name: str, value: str) -> list[Operation]:
    """Return the patch that sets an annotation of a SeparationJob that has not changed since it was read."""
    tests = unchanged_tests(resource)
    if resource["metadata"].get("annotations") is None:
        return [*tests, {"op": "add", "path": "/metadata/annotations", "value": {name: value}}]
    path = f"/metadata/annotations/{name.replace('/', '~1')}"
    return [*tests, {"op": "add", "path": path, "value": value}]


def unchanged_tests(resource: Mapping[str, Any]) -> list[Operation]:
    """Return the operations that fail the patch if the resource has changed since it was read.

    Its content cannot be tested instead: the API server compares strings by their JSON bytes, so that text beyond ASCII
    never equals itself.
    """
    return [test_operation(f"/metadata/{name}", resource["metadata"][name]) for name in ("uid", "resourceVersion")]


def test_operation(path: str, value: object) -> Operation:
    """Return the operation that fails the patch if the value differs."""
    return {"op": "test", "path": path, "value": value}
