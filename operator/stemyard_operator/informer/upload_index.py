"""Index of the uploads that are still needed: several SeparationJobs may name the same one."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stemyard_contract.separationjob import Phase
from stemyard_contract.source import UploadSource
from stemyard_operator.model.separation import LEFTOVER_SECONDS, Resource, parse_time

_Upload = tuple[str, str]
"""Owner and id of an upload."""
_AT_WORK: Final = datetime.max.replace(tzinfo=UTC)


class UploadIndex:
    """Says which uploads other SeparationJobs need: those at work, and failed or cancelled ones, which may run again.

    Args:
        api_namespace: the namespace of the API, whose SeparationJobs alone have uploads.
        now: the current time.
    """

    def __init__(self, api_namespace: str, now: Callable[[], datetime]) -> None:
        self._api_namespace = api_namespace
        self._now = now
        self._uploads: dict[str, _Upload] = {}
        self._until: dict[_Upload, dict[str, datetime]] = {}
        """Until when an upload is needed, by uid of the SeparationJob that needs it."""

    def learn(self, resource: Resource) -> None:
        """Index a SeparationJob in its newest state."""
        upload = self._upload_of(resource)
        if upload is None:
            return
        uid = resource["metadata"]["uid"]
        self.forget(uid)
        until = _needed_until(resource)
        if until is not None:
            self._uploads[uid] = upload
            self._until.setdefault(upload, {})[uid] = until

    def forget(self, uid: str) -> None:
        """Drop a deleted SeparationJob."""
        upload = self._uploads.pop(uid, None)
        if upload is not None:
            del self._until[upload][uid]
            if not self._until[upload]:
                del self._until[upload]

    def in_use(self, upload: UploadSource, uid: str) -> bool:
        """Return whether a SeparationJob other than this one needs an upload."""
        others = self._until.get((upload.owner, upload.id), {})
        now = self._now()
        return any(other != uid and until > now for other, until in others.items())

    def _upload_of(self, resource: Resource) -> _Upload | None:
        if resource["metadata"]["namespace"] != self._api_namespace:
            return None
        match resource["spec"]:
            case {"source": {"upload": {"owner": str(owner), "id": str(name)}}}:
                return owner, name
        return None


def _needed_until(resource: Mapping[str, Any]) -> datetime | None:
    """Return until when a SeparationJob needs its upload, None if its run is completed."""
    spec, status = resource["spec"], resource.get("status") or {}
    try:
        finished = parse_time(status.get("finishedAt"))
    except ValueError:
        return _AT_WORK
    if finished is None or (status.get("run") or 1) < (spec.get("run") or 1):
        return _AT_WORK
    return None if status.get("phase") == Phase.COMPLETED else finished + timedelta(seconds=LEFTOVER_SECONDS)
