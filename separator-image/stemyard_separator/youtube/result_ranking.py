"""Which of the recordings a search found is most likely the one that was meant. Pure; every number is a judgement."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.identity import normalise_query
from stemyard_separator.errors import SourceError

LIVE_STATES: Final = frozenset({"is_live", "is_upcoming", "post_live"})
_WORDS_OF_OTHER_VERSIONS: Final = (
    "karaoke instrumental cover remix live reaction tutorial lesson nightcore slowed reverb sped 8d acapella loop "
    "mashup parody teaser trailer boosted backing"
)
_OTHER_VERSIONS: Final = frozenset(_WORDS_OF_OTHER_VERSIONS.split())
"""Words of a title that name another version; harmless where the query has them too."""
_OFFICIAL: Final = re.compile(r"official (audio|music video|video)|\blyrics?\b|\baudio\b", re.IGNORECASE)
_SONG_SECONDS: Final = (60.0, 600.0)
_WORD: Final = re.compile(r"\w+")
SearchResult = Mapping[str, Any]
"""One flat entry of a yt-dlp search."""


def rank(query: str, entries: Iterable[SearchResult], max_seconds: float) -> list[Candidate]:
    """Return the candidates, best first, the best one marked as chosen.

    Raises:
        SourceError: SOURCE_NOT_FOUND if there are none; SOURCE_LIVE or SOURCE_TOO_LONG if none of them can be taken.
    """
    found = [entry for entry in entries if entry.get("id")]
    if not found:
        raise SourceError(FailureCode.SOURCE_NOT_FOUND)
    usable = [entry for entry in found if _refusal(entry, max_seconds) is None]
    if not usable:
        raise SourceError(_refusal(found[0], max_seconds) or FailureCode.SOURCE_NOT_FOUND, "No other was found.")
    scored = [_candidate(query, position, entry) for position, entry in enumerate(usable)]
    scored.sort(key=lambda candidate: -candidate.score)
    return [candidate.model_copy(update={"chosen": index == 0}) for index, candidate in enumerate(scored)]


def _refusal(entry: SearchResult, max_seconds: float) -> FailureCode | None:
    if entry.get("live_status") in LIVE_STATES:
        return FailureCode.SOURCE_LIVE
    return FailureCode.SOURCE_TOO_LONG if (entry.get("duration") or 0) > max_seconds else None


def _candidate(query: str, position: int, entry: SearchResult) -> Candidate:
    channel = entry.get("channel") or entry.get("uploader")
    duration = entry.get("duration")
    points = list(_points(query, position, entry))
    return Candidate(
        media_id=f"youtube:{entry['id']}"[:128],
        title=str(entry.get("title") or "")[:256],
        channel=str(channel)[:256] if channel else None,
        duration=float(duration) if duration is not None else None,
        score=round(sum(value for value, _ in points), 3),
        reason=", ".join(words for _, words in points if words)[:128] or None,
    )


def _points(query: str, position: int, entry: SearchResult) -> Iterator[tuple[float, str]]:
    """Yield what counts for and against an entry, each with its words; the search's own order counts silently."""
    wanted, title = _words(query), _words(str(entry.get("title") or ""))
    channel = str(entry.get("channel") or entry.get("uploader") or "")
    covered = _covered(wanted, [*title, *_words(channel)])
    yield 4.0 * covered, "all words match" if covered == 1 else f"{covered:.0%} of the words match"
    yield -0.4 * position, ""
    if others := sorted(set(title) & _OTHER_VERSIONS - set(wanted)):
        yield -1.5 * len(others), f"not asked for: {' '.join(others)}"
    if channel.endswith(" - Topic") or entry.get("channel_is_verified"):
        yield 0.75, "the artist's own or a verified channel"
    if _OFFICIAL.search(str(entry.get("title") or "")):
        yield 0.5, "says it is official"
    yield _duration_points(entry.get("duration"))


def _duration_points(duration: float | None) -> tuple[float, str]:
    if duration is None:
        return 0.0, "of unknown length"
    shortest, longest = _SONG_SECONDS
    return (0.5, "as long as a song") if shortest <= duration <= longest else (-1.5, "not as long as a song")


def _covered(wanted: Sequence[str], given: Sequence[str]) -> float:
    return len(set(wanted) & set(given)) / len(set(wanted)) if wanted else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(normalise_query(text))
