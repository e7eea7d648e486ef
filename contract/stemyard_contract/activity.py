"""Activity of tracks: the scores in the mirror's sorted set that counts tracks under way and those that ended lately.

Each state has a band of scores; within it tracks are sorted by time. So one command counts a state, or the tracks that
ended in an hour, whatever their number.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.separationjob import Phase

LISTED: Final = "2"
"""Value of MirrorKeys.tracks_divided by operators that write the activity, too; older ones write `1`."""
_WIDTH: Final = 1e10
"""Width of a band: more than any time in epoch seconds, and a double still resolves milliseconds beside ten bands."""


class Band(IntEnum):
    """States of tracks, in the order of their scores."""

    FAILED = 0
    """Failed or cancelled; sorted by its end."""
    COMPLETED = 1
    """Sorted by its end."""
    PENDING = 2
    """Sorted by its creation, like those below."""
    QUEUED = 3
    FETCHING = 4
    SEPARATING = 5
    SUSPENDED = 6


_BANDS: Final[Mapping[Phase, Band]] = MappingProxyType(
    {
        Phase.PENDING: Band.PENDING,
        Phase.FETCHING: Band.FETCHING,
        Phase.QUEUED: Band.QUEUED,
        Phase.SEPARATING: Band.SEPARATING,
        Phase.COMPLETED: Band.COMPLETED,
        Phase.FAILED: Band.FAILED,
        Phase.CANCELLED: Band.FAILED,
        Phase.SUSPENDED: Band.SUSPENDED,
    }
)
ENDED: Final = frozenset({Band.FAILED, Band.COMPLETED})


class Scores(NamedTuple):
    """Scores of a band: from `lowest`, inclusive, to `end`, exclusive."""

    lowest: float
    end: float


def band_of(record: MirrorRecord) -> Band:
    """Return the state of a track's requested run."""
    return _BANDS[record.phase if record.status_run == record.run else Phase.PENDING]


def score_of(record: MirrorRecord) -> float:
    """Return the score of a track."""
    band = band_of(record)
    ended = record.created if record.ended_at is None else record.ended_at
    return band * _WIDTH + (ended if band in ENDED else record.created)


def scores(band: Band, since: float = 0.0, until: float = _WIDTH) -> Scores:
    """Return the scores of the tracks of a band between two times."""
    return Scores(band * _WIDTH + since, band * _WIDTH + until)


def band_at(score: float) -> Band:
    """Return the band that a score lies in."""
    return Band(int(score // _WIDTH))


def time_at(score: float) -> float:
    """Return the time in a score, in epoch seconds."""
    return score % _WIDTH
