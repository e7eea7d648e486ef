"""The choice among several search results."""

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.youtube.result_ranking import SearchResult, rank
from tests.separator.youtube.searches import Search, searches


def result(video: str, title: str, duration: float | None = 200, **more: object) -> SearchResult:
    return {"id": video, "title": title, "duration": duration, **more}


def chosen(query: str, *results: SearchResult) -> str:
    first, *others = rank(query, results, 3600)
    assert first.chosen
    assert not any(each.chosen for each in others)
    return first.media_id.removeprefix("youtube:")


@pytest.mark.parametrize("search", searches(), ids=lambda search: search.query)
def test_the_recording_that_suits_separation_is_chosen(search: Search) -> None:
    ranked = rank(search.query, search.results, 3600)

    assert ranked[0].media_id.removeprefix("youtube:") in search.wanted, "\n".join(map(str, ranked))


def test_the_table_of_searches_is_complete() -> None:
    assert len(searches()) >= 20
    assert all(search.wanted for search in searches())


def test_the_first_of_equal_results_wins() -> None:
    assert chosen("queen radio ga ga", result("a", "Queen - Radio Ga Ga"), result("b", "Queen - Radio Ga Ga")) == "a"


@pytest.mark.parametrize("version", ["karaoke", "live", "cover", "8D", "Nightcore", "Remix", "reaction"])
def test_other_versions_rank_last_unless_the_query_names_them(version: str) -> None:
    results = result("a", f"Queen - Radio Ga Ga ({version})"), result("b", "Queen - Radio Ga Ga")

    assert chosen("queen radio ga ga", *results) == "b"
    assert chosen(f"queen radio ga ga {version}", *results) == "a"


def test_a_loop_of_an_hour_loses() -> None:
    assert chosen("radio ga ga", result("a", "Radio Ga Ga 1 hour", 3500), result("b", "Radio Ga Ga", 343)) == "b"


def test_the_artists_own_channel_wins() -> None:
    results = result("a", "Radio Ga Ga", channel="Fan"), result("b", "Radio Ga Ga", channel="Queen - Topic")

    assert chosen("queen radio ga ga", *results) == "b"


def test_every_candidate_has_a_reason() -> None:
    best, other = rank(
        "queen radio ga ga",
        [
            result("a", "Queen - Radio Ga Ga (Live) karaoke", 20),
            result("b", "Radio Ga Ga", 343, channel="Queen - Topic"),
        ],
        3600,
    )

    assert best.reason == "all words match, the artist's own release, as long as a song"
    assert other.reason == "all words match, other version: karaoke live, another channel, not as long as a song"


def test_the_reasons_explain_why_a_video_loses() -> None:
    video = result("a", "Queen – Radio Ga Ga (Official Video)", 353, channel="Queen Official")

    best, other = rank("radio ga ga", [video, result("b", "Radio Ga Ga", 343, channel="Queen - Topic")], 3600)

    assert best.media_id == "youtube:b"
    assert other.reason == "all words match, the artist's video, as long as a song"
    assert best.score > other.score


def test_a_release_that_ranks_tenth_is_found() -> None:
    video = result("a", "Queen – Radio Ga Ga (Official Video)", 353, channel="Queen Official")
    others = [result(f"o{number}", f"Radio Ga Ga song {number}") for number in range(8)]

    assert chosen("radio ga ga", video, *others, result("z", "Radio Ga Ga", 343, channel="Queen - Topic")) == "z"


def test_live_and_overlong_results_are_excluded() -> None:
    live, long = result("a", "Song", live_status="is_live"), result("b", "Song", 9999)

    assert [each.media_id for each in rank("song", [live, long, result("c", "Song")], 3600)] == ["youtube:c"]
    for only, code in ((live, FailureCode.SOURCE_LIVE), (long, FailureCode.SOURCE_TOO_LONG)):
        with pytest.raises(SourceError) as caught:
            rank("song", [only], 3600)
        assert caught.value.code is code


def test_long_names_fit_the_contract() -> None:
    (candidate,) = rank("x", [result("a", "t" * 999, None, channel="c" * 999)], 3600)

    assert (len(candidate.title), len(candidate.channel or "")) == (256, 256)
