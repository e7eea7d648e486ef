"""Ranks the results of a YouTube search and chooses the one to download. Pure; all weights are heuristic."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.identity import normalise_query
from stemyard_separator.errors import SourceError

LIVE_STATES: Final = frozenset({"is_live", "is_upcoming", "post_live"})
_OTHER_VERSION_WORDS: Final = (
    "karaoke instrumental cover remix live reaction tutorial lesson nightcore slowed reverb sped 8d acapella loop "
    "mashup parody teaser trailer boosted backing"
)
_OTHER_VERSIONS: Final = frozenset(_OTHER_VERSION_WORDS.split())
"""Words in a title that indicate another version; ignored if the query contains them too."""
_OFFICIAL: Final = re.compile(r"official (audio|music video|video)|\blyrics?\b|\baudio\b", re.IGNORECASE)
_SONG_SECONDS: Final = (60.0, 600.0)
_WORD: Final = re.compile(r"\w+")
SearchResult = Mapping[str, Any]
"""One flat entry of a yt-dlp search."""


def rank(query: str, results: Iterable[SearchResult], max_seconds: float) -> list[Candidate]:
    """Return the candidates, best first; the best one is marked as chosen.

    Raises:
        SourceError: SOURCE_NOT_FOUND if there are none; SOURCE_LIVE or SOURCE_TOO_LONG if none of them is usable.
    """
    found = [result for result in results if result.get("id")]
    if not found:
        raise SourceError(FailureCode.SOURCE_NOT_FOUND)
    usable = [result for result in found if _refusal(result, max_seconds) is None]
    if not usable:
        raise SourceError(_refusal(found[0], max_seconds) or FailureCode.SOURCE_NOT_FOUND, "No other was found.")
    scored = [_candidate(query, position, result) for position, result in enumerate(usable)]
    scored.sort(key=lambda candidate: -candidate.score)
    return [candidate.model_copy(update={"chosen": index == 0}) for index, candidate in enumerate(scored)]


def _refusal(result: SearchResult, max_seconds: float) -> FailureCode | None:
    if result.get("live_status") in LIVE_STATES:
        return FailureCode.SOURCE_LIVE
    return FailureCode.SOURCE_TOO_LONG if (result.get("duration") or 0) > max_seconds else None


def _candidate(query: str, position: int, result: SearchResult) -> Candidate:
    channel = result.get("channel") or result.get("uploader")
    duration = result.get("duration")
    scores = list(_scores(query, position, result))
    return Candidate(
        media_id=f"youtube:{result['id']}"[:128],
        title=str(result.get("title") or "")[:256],
        channel=str(channel)[:256] if channel else None,
        duration=float(duration) if duration is not None else None,
        score=round(sum(score for score, _ in scores), 3),
        reason=", ".join(reason for _, reason in scores if reason)[:128] or None,
    )


def _scores(query: str, position: int, result: SearchResult) -> Iterator[tuple[float, str]]:
    """Yield score and reason of each criterion; the position in the search results has no reason."""
    query_words, title_words = _words(query), _words(str(result.get("title") or ""))
    channel = str(result.get("channel") or result.get("uploader") or "")
    coverage = _coverage(query_words, [*title_words, *_words(channel)])
    yield 4.0 * coverage, "all words match" if coverage == 1 else f"{coverage:.0%} of the words match"
    yield -0.4 * position, ""
    if versions := sorted(set(title_words) & _OTHER_VERSIONS - set(query_words)):
        yield -1.5 * len(versions), f"other version: {' '.join(versions)}"
    if channel.endswith(" - Topic") or result.get("channel_is_verified"):
        yield 0.75, "the artist's own or a verified channel"
    if _OFFICIAL.search(str(result.get("title") or "")):
        yield 0.5, "marked as official"
    yield _duration_score(result.get("duration"))


def _duration_score(duration: float | None) -> tuple[float, str]:
    if duration is None:
        return 0.0, "unknown length"
    shortest, longest = _SONG_SECONDS
    return (0.5, "as long as a song") if shortest <= duration <= longest else (-1.5, "not as long as a song")


def _coverage(query_words: Sequence[str], words: Sequence[str]) -> float:
    return len(set(query_words) & set(words)) / len(set(query_words)) if query_words else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(normalise_query(text))
