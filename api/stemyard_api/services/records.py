"""Records of SeparationJobs, also of those that the types cannot read, as one stored under an older CRD."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import ValidationError

from stemyard_api.errors import NameConflictError
from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.identity import track_of
from stemyard_contract.mirror import MirrorRecord, record_of
from stemyard_contract.separationjob import STAND_IN_SPEC, ConditionType, FailureStatus, Phase, SeparationJobStatus

_log = logging.getLogger(__name__)


def readable_record(resource: Mapping[str, Any]) -> MirrorRecord | None:
    """Return the record of a SeparationJob; None if it cannot be read, which is logged."""
    try:
        return record_of(resource)
    except ValidationError as error:
        fields = sorted({".".join(map(str, item["loc"])) for item in error.errors()})
        job = resource["metadata"]["name"]
        _log.warning("unknown SeparationJob schema", extra={"separation_job": job, "fields": fields})
        return None


def read_record(resource: Mapping[str, Any]) -> MirrorRecord:
    """Return the record of a SeparationJob; if it cannot be read, of a failed track with its id and its claims.

    The operator writes the same status. One that it accepted when it could be read keeps the status of then.
    """
    return readable_record(resource) or _refused(resource)


async def readable_records(resources: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[MirrorRecord]:
    """Yield the records of SeparationJobs, but for those that cannot be read."""
    async for resource in resources:
        if (record := readable_record(resource)) is not None:
            yield record


def joinable_record(resource: Mapping[str, Any]) -> MirrorRecord:
    """Return the record of a SeparationJob that is to be joined or run again, which takes one that can be read.

    Raises:
        NameConflictError: it cannot be read.
    """
    record = readable_record(resource)
    if record is None:
        name = resource["metadata"]["name"]
        raise NameConflictError(f"The SeparationJob {name} was stored by another version and is not valid; delete it.")
    return record


def read_status(resource: Mapping[str, Any]) -> SeparationJobStatus:
    """Return the status of a SeparationJob, an empty one if it cannot be read."""
    try:
        return SeparationJobStatus.model_validate(resource.get("status") or {})
    except ValidationError:
        return SeparationJobStatus()


def track_id_of(resource: Mapping[str, Any]) -> str:
    """Return the track id of a SeparationJob in the API's namespace."""
    metadata = resource["metadata"]
    return track_of(metadata["namespace"], metadata["name"], metadata.get("labels") or {}, metadata["namespace"])


def _refused(resource: Mapping[str, Any]) -> MirrorRecord:
    spec, status = resource["spec"], read_status(resource)
    record = record_of({**resource, "spec": {**STAND_IN_SPEC, "run": status.run or 1}, "status": status.dump()})
    known: dict[str, Any] = {
        "query": next((text for text in spec.get("source", {}).values() if isinstance(text, str)), ""),
        "claims": [claim["key"] for claim in spec.get("claims", ())],
    }
    if not any(one.type == ConditionType.ACCEPTED and one.status == "True" for one in status.conditions):
        row = FAILURES[FailureCode.INVALID_REQUEST]
        failure = FailureStatus(code=row.code, stage=row.stage, message=row.sentence, retryable=row.retryable)
        known |= {"phase": Phase.FAILED, "failure": status.failure or failure}
    return record.model_copy(update=known)
