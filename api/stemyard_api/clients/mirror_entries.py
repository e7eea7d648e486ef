"""Entries of the mirror: the records of one track, as stored and parsed."""

import logging
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from stemyard_contract.mirror import DELETED_UID, MirrorRecord, ProgressRecord, RequestRecord

_Model = TypeVar("_Model", bound=BaseModel)

_log = logging.getLogger(__name__)

RawEntry = tuple[bytes | None, bytes | None, bytes | None]
"""Record, progress and last request of one track, as stored in Redis."""


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """The mirror's entry of a track; each part may be missing."""

    record: MirrorRecord | None = None
    progress: ProgressRecord | None = None
    request: RequestRecord | None = None

    @property
    def deleted(self) -> bool:
        """Whether the API has deleted the resource."""
        return self.request is not None and self.request.uid == DELETED_UID

    @property
    def current(self) -> MirrorRecord | None:
        """The record with a later requested run applied, unless the resource was replaced or changed since."""
        if self.record is None or self.request is None:
            return self.record
        if self.request.uid != self.record.uid or self.record.resource_version < self.request.version:
            return None
        if self.request.run <= self.record.run:
            return self.record
        return self.record.model_copy(update={"run": self.request.run, "cancel": False})


def parse_entry(raw: RawEntry) -> MirrorEntry:
    """Return the parsed form of a raw mirror entry."""
    record, progress, request = raw
    return MirrorEntry(parse(MirrorRecord, record), parse(ProgressRecord, progress), parse(RequestRecord, request))


def parse(model: type[_Model], text: bytes | str | None) -> _Model | None:
    """Return the record, or None if it is missing or written by an incompatible version."""
    if text is None:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        _log.warning("unreadable record in the mirror", extra={"record": model.__name__, "errors": error.error_count()})
        return None
