"""What the mirror says of all tracks at once: how many are in which state, and which to look at more closely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, cast

from redis.asyncio.client import Pipeline

from stemyard_contract.activity import ENDED, LISTED, Band, scores
from stemyard_contract.mirror_keys import MirrorKeys

_UNDER_WAY: Final = tuple(band for band in Band if band not in ENDED)
HOUR_SECONDS: Final = 3600.0

Member = tuple[str, float]
"""A track's id and its score."""


@dataclass(frozen=True, slots=True)
class ActivityQuery:
    """What to ask for.

    Attributes:
        hours: the start of each hour to count, oldest first.
        limit: maximum of the tracks returned of each kind.
        queue: number of tracks from the head of the queue.
    """

    hours: Sequence[float]
    limit: int
    queue: int


@dataclass(frozen=True, slots=True)
class Activity:
    """The mirror's answer.

    Attributes:
        listed: whether the operator states that its lists are complete.
        under_way: number of tracks in each state that has not ended.
        completed: number of completed tracks for each hour.
        failed: number of failed and cancelled tracks for each hour.
        members: tracks under way, then failed, then completed ones, those of each kind newest first.
        queue: ids of the tracks at the head of the queue, in its order.
    """

    listed: bool
    under_way: Mapping[Band, int]
    completed: Sequence[int]
    failed: Sequence[int]
    members: Sequence[Member]
    queue: Sequence[str]


def ask_activity(pipeline: Pipeline, keys: MirrorKeys, query: ActivityQuery) -> None:
    """Add the commands of a query; their number does not depend on that of the tracks."""
    pipeline.get(keys.tracks_divided)
    pipeline.zrange(keys.queue, 0, query.queue - 1)
    since, last = query.hours[0], scores(_UNDER_WAY[-1]).end
    ranges = [(scores(_UNDER_WAY[0]).lowest, last), scores(Band.FAILED, since), scores(Band.COMPLETED, since)]
    for lowest, end in ranges:
        pipeline.zrevrangebyscore(keys.activity, f"({end!r}", lowest, start=0, num=query.limit, withscores=True)
    for band in _UNDER_WAY:
        _count(pipeline, keys, *scores(band))
    for band in (Band.COMPLETED, Band.FAILED):
        for hour in query.hours:
            _count(pipeline, keys, *scores(band, hour, hour + HOUR_SECONDS))


def parse_activity(answers: Sequence[object], query: ActivityQuery) -> Activity:
    """Return what the commands of a query answered."""
    left = iter(answers)
    stated, queue = cast(bytes | None, next(left)), cast(list[bytes], next(left))
    members = [
        (str(track, "utf-8"), score)
        for found in islice(left, 3)
        for track, score in cast(list[tuple[bytes, float]], found)
    ]
    counts = [cast(int, count) for count in left]
    under_way, ended = counts[: len(_UNDER_WAY)], counts[len(_UNDER_WAY) :]
    return Activity(
        listed=stated == LISTED.encode(),
        under_way=dict(zip(_UNDER_WAY, under_way, strict=True)),
        completed=ended[: len(query.hours)],
        failed=ended[len(query.hours) :],
        members=members,
        queue=[str(track, "utf-8") for track in queue],
    )


def _count(pipeline: Pipeline, keys: MirrorKeys, lowest: float, end: float) -> None:
    pipeline.zcount(keys.activity, lowest, f"({end!r}")
