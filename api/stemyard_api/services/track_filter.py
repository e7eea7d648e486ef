"""Filter of listed tracks. Pure."""

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from stemyard_api.errors import InvalidRequestError
from stemyard_api.schemas.json_bodies import load_json
from stemyard_api.schemas.responses import Status
from stemyard_api.services import rendering
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.separationjob import Phase


@dataclass(frozen=True, slots=True)
class TrackFilter:
    """What a track must be to be listed; a condition that is absent passes all.

    Attributes:
        status: its status.
        phases: its phase is one of these.
        words: each occurs in its query, title, artist or channel; in the form that `words_of` returns.
        metadata: names and values that this key's metadata has at its top level.
        since: it was requested, or has ended, at or after this time (epoch seconds).
    """

    status: Status | None = None
    phases: Collection[Phase] = ()
    words: Collection[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    since: float = 0.0

    def matches(self, record: MirrorRecord, key_id: str) -> bool:
        """Return whether a track of this key is listed."""
        changed = record.ended_at if record.finished and record.ended_at is not None else record.created
        return (
            self.status in {None, rendering.status_of(record)}
            and (not self.phases or rendering.phase_of(record) in self.phases)
            and changed >= self.since
            and self._has_words(record)
            and self._has_metadata(record, key_id)
        )

    def _has_words(self, record: MirrorRecord) -> bool:
        if not self.words:
            return True
        texts = (record.query, record.title, record.artist, record.channel)
        text = _folded(" ".join(one for one in texts if one))
        return all(word in text for word in self.words)

    def _has_metadata(self, record: MirrorRecord, key_id: str) -> bool:
        if not self.metadata:
            return True
        held = rendering.metadata_of(record, key_id) or {}
        # not `==` alone: in Python true is 1
        return all(
            name in held and held[name] == value and type(held[name]) is type(value)
            for name, value in self.metadata.items()
        )


def words_of(text: str) -> list[str]:
    """Return the words of a text, without regard to case and width."""
    return _folded(text).split()


def parse_metadata(text: str) -> dict[str, Any]:
    """Return the metadata that a query parameter asks for.

    Raises:
        InvalidRequestError: it is no JSON object.
    """
    try:
        found = load_json(text.encode())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequestError.for_field("metadata", 'must be a JSON object, such as {"order":7}')
    return found


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
