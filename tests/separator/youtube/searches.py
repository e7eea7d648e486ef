"""Searches for songs and the wanted results, from `searches.txt`."""

from dataclasses import dataclass
from pathlib import Path

from stemyard_separator.youtube.result_ranking import SearchResult


@dataclass(frozen=True)
class Search:
    """A query, its results as yt-dlp returns them, and the ids of those that may be chosen."""

    query: str
    results: list[SearchResult]
    wanted: frozenset[str]


def searches() -> list[Search]:
    text = Path(__file__).with_name("searches.txt").read_text()
    return [_search(part.splitlines()) for part in text.split("\n\n") if part.startswith("?")]


def _search(lines: list[str]) -> Search:
    results = [_result(str(number), line[2:]) for number, line in enumerate(lines[1:])]
    wanted = frozenset(str(number) for number, line in enumerate(lines[1:]) if line.startswith("*"))
    return Search(lines[0].removeprefix("? "), results, wanted)


def _result(video: str, line: str) -> SearchResult:
    title, channel, length = line.rsplit(" | ", 2)
    seconds = 0.0
    for part in length.split(":"):
        seconds = 60 * seconds + float(part)
    verified = True if channel.endswith(" ✓") else None
    channel = channel.removesuffix(" ✓")
    return {"id": video, "title": title, "channel": channel, "duration": seconds, "channel_is_verified": verified}
