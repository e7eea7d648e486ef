"""Ranks the results of a YouTube search and chooses the one to download. Pure; all weights are heuristic."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.identity import normalise_query
from stemyard_separator.errors import SourceError

LIVE_STATES: Final = frozenset({"is_live", "is_upcoming", "post_live"})
_OTHER_VERSION_WORDS: Final = (
    "karaoke instrumental cover remix rmx live reaction tutorial lesson nightcore slowed reverb sped 8d acapella loop "
    "mashup parody teaser trailer boosted backing acoustic unplugged demo rehearsal rehearsals outtake outtakes "
    "extended concert vivo session piano"
)
_OTHER_VERSIONS: Final = frozenset(_OTHER_VERSION_WORDS.split())
"""Words in a title that indicate another version; ignored if the query contains them too."""
_FORM_WORD_LIST: Final = "official audio lyric lyrics letra song mp3 hd hq 4k by ft feat"
_FORM_WORDS: Final = frozenset(_FORM_WORD_LIST.split())
"""Words in a query that do not name the song."""
_LYRICS: Final = re.compile(r"\b(lyrics?|letra|paroles|visuali[sz]er)\b", re.IGNORECASE)
_AUDIO: Final = re.compile(r"\baudio\b", re.IGNORECASE)
_VIDEO: Final = re.compile(r"\b(video|vidéo|clip|m/?v)\b", re.IGNORECASE)
_TOPIC: Final = " - Topic"
"""Ending of the channels in which YouTube publishes what labels deliver: the master, without pictures."""
_CHANNEL_ENDINGS: Final = re.compile(r"( - Topic|VEVO|\s+(official|music|tv))$", re.IGNORECASE)
_MIN_JOINED: Final = 5
"""Length from which a name is also found in text without word boundaries, such as `TheCranberriesVEVO`."""
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
    named = _names(query, usable[0])
    scored = [_candidate(query, named, position, result) for position, result in enumerate(usable)]
    scored.sort(key=lambda candidate: -candidate.score)
    return [candidate.model_copy(update={"chosen": index == 0}) for index, candidate in enumerate(scored)]


def _refusal(result: SearchResult, max_seconds: float) -> FailureCode | None:
    if result.get("live_status") in LIVE_STATES:
        return FailureCode.SOURCE_LIVE
    return FailureCode.SOURCE_TOO_LONG if (result.get("duration") or 0) > max_seconds else None


def _names(query: str, first: SearchResult) -> str:
    """Return the text in which the wanted artist is named: the query and the title of the most relevant result."""
    channel = _channel(first)
    return f"{query} {first.get('title') or ''} {channel if channel.endswith(_TOPIC) else ''}"


def _channel(result: SearchResult) -> str:
    return str(result.get("channel") or result.get("uploader") or "")


def _candidate(query: str, named: str, position: int, result: SearchResult) -> Candidate:
    duration = result.get("duration")
    scores = list(_scores(query, named, position, result))
    return Candidate(
        media_id=f"youtube:{result['id']}"[:128],
        title=str(result.get("title") or "")[:256],
        channel=_channel(result)[:256] or None,
        duration=float(duration) if duration is not None else None,
        score=round(sum(score for score, _ in scores), 3),
        reason=", ".join(reason for _, reason in scores if reason)[:128] or None,
    )


def _scores(query: str, named: str, position: int, result: SearchResult) -> Iterator[tuple[float, str]]:
    """Yield score and reason of each criterion; the position in the search results has no reason."""
    query_words, title_words = _words(query), _words(str(result.get("title") or ""))
    coverage = _coverage(query_words, [*title_words, *_words(_channel(result))])
    yield 4.0 * coverage, "all words match" if coverage == 1 else f"{coverage:.0%} of the words match"
    yield -0.1 * position, ""
    if versions := sorted(set(title_words) & _OTHER_VERSIONS - set(query_words)):
        yield -1.5 * len(versions), f"other version: {' '.join(versions)}"
    yield _recording_score(result, named, wants_video="video" in query_words)
    yield _duration_score(result.get("duration"))


def _recording_score(result: SearchResult, named: str, *, wants_video: bool) -> tuple[float, str]:
    """Prefer the artist's master: videos have spoken introductions, pauses and noises, which end up in the stems."""
    title, channel = str(result.get("title") or ""), _channel(result)
    artist = _CHANNEL_ENDINGS.sub("", channel)
    if not _is_named(artist, named):
        return _others_score(title, is_verified=bool(result.get("channel_is_verified")))
    if _VIDEO.search(title) and not _LYRICS.search(title):
        return (2.0, "the artist's video, as requested") if wants_video else (1.0, "the artist's video")
    if channel.endswith(_TOPIC) or not _is_named(artist, title):
        return 2.0, "the artist's own release"
    if _AUDIO.search(title):
        return 1.75, "the artist's official audio"
    return (1.5, "the artist's lyric video") if _LYRICS.search(title) else (1.25, "the artist's channel")


def _others_score(title: str, *, is_verified: bool) -> tuple[float, str]:
    if _AUDIO.search(title) or _LYRICS.search(title):
        return 0.4, "audio or lyrics of another channel"
    return (0.4, "a verified channel") if is_verified else (0.0, "another channel")


def _is_named(artist: str, text: str) -> bool:
    """Return whether the text contains the artist's name; a leading `The`, accents and spaces do not matter."""
    name = _words(artist)
    name = name[1:] if len(name) > 1 and name[0] == "the" else name
    words, joined = _words(text), "".join(name).removeprefix("the")
    if not joined:
        return False
    by_words = any(words[start : start + len(name)] == name for start in range(len(words)))
    return by_words or (len(joined) >= _MIN_JOINED and joined in "".join(words))


def _duration_score(duration: float | None) -> tuple[float, str]:
    if duration is None:
        return 0.0, "unknown length"
    shortest, longest = _SONG_SECONDS
    return (0.5, "as long as a song") if shortest <= duration <= longest else (-1.5, "not as long as a song")


def _coverage(query_words: Sequence[str], words: Sequence[str]) -> float:
    wanted = set(query_words) - _FORM_WORDS or set(query_words)
    return len(wanted & set(words)) / len(wanted) if wanted else 0.0


def _words(text: str) -> list[str]:
    """Return the words of a text without accents, which many leave out."""
    letters = unicodedata.normalize("NFKD", normalise_query(text))
    return _WORD.findall("".join(letter for letter in letters if not unicodedata.combining(letter)))
