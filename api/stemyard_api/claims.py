"""Claims: what withdrawing one key's claim from a track leads to. Pure rules over a SeparationJob as stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stemyard_api.auth.api_keys import Principal
from stemyard_api.services.placement_rules import Operation, test_of
from stemyard_contract.mirror import MirrorRecord, record_of


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What to do with a track from which a key withdraws.

    Attributes:
        record: the track as it was found.
        claimed: whether the key has a claim to give up.
        ends: whether nobody is left, or an admin says so, so that the track itself is cancelled or deleted.
        patch: what to write; empty when nothing is to be written.
    """

    record: MirrorRecord
    claimed: bool
    ends: bool
    patch: list[Operation]


def cancellation(resource: Mapping[str, Any], principal: Principal) -> Withdrawal:
    """Return what a key's wish to cancel leads to; a finished track is left as it is, claim and all."""
    record = record_of(resource)
    claimed, ends = _standing(record, principal)
    if record.finished:
        return Withdrawal(record, claimed=False, ends=False, patch=[])
    changes = _removal(record, principal.key_id)
    if ends and not record.cancel:
        changes.append({"op": "add", "path": "/spec/cancel", "value": True})
    return Withdrawal(record, claimed, ends, _guarded(resource, changes))


def removal(resource: Mapping[str, Any], principal: Principal) -> Withdrawal:
    """Return what a key's wish to be rid of a track leads to; where it ends, the resource is to be deleted."""
    record = record_of(resource)
    claimed, ends = _standing(record, principal)
    changes = [] if ends else _removal(record, principal.key_id)
    return Withdrawal(record, claimed, ends, _guarded(resource, changes))


def _standing(record: MirrorRecord, principal: Principal) -> tuple[bool, bool]:
    others = set(record.claims) - {principal.key_id}
    return principal.key_id in record.claims, principal.is_admin or not others


def _removal(record: MirrorRecord, key_id: str) -> list[Operation]:
    if key_id not in record.claims:
        return []
    return [{"op": "remove", "path": f"/spec/claims/{record.claims.index(key_id)}"}]


def _guarded(resource: Mapping[str, Any], changes: list[Operation]) -> list[Operation]:
    if not changes:
        return []
    # whoever claims it in this moment must not find it cancelled
    claims = resource["spec"].get("claims")
    guard = [] if claims is None else [test_of("/spec/claims", claims)]
    return [test_of("/metadata/uid", resource["metadata"]["uid"]), *guard, *changes]
