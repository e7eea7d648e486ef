"""Which of several recordings is taken."""

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.youtube.result_ranking import SearchResult, rank


def entry(video: str, title: str, duration: float | None = 200, **more: object) -> SearchResult:
    return {"id": video, "title": title, "duration": duration, **more}


def chosen(query: str, *entries: SearchResult) -> str:
    first, *others = rank(query, entries, 3600)
    assert first.chosen
    assert not any(each.chosen for each in others)
    return first.media_id.removeprefix("youtube:")


def test_the_first_of_equals_is_taken() -> None:
    assert chosen("queen radio ga ga", entry("a", "Queen - Radio Ga Ga"), entry("b", "Queen - Radio Ga Ga")) == "a"


@pytest.mark.parametrize("version", ["karaoke", "live", "cover", "8D", "Nightcore", "Remix", "reaction"])
def test_other_versions_come_last_unless_asked_for(version: str) -> None:
    entries = entry("a", f"Queen - Radio Ga Ga ({version})"), entry("b", "Queen - Radio Ga Ga")

    assert chosen("queen radio ga ga", *entries) == "b"
    assert chosen(f"queen radio ga ga {version}", *entries) == "a"


def test_an_hour_of_it_is_not_the_song() -> None:
    assert chosen("radio ga ga", entry("a", "Radio Ga Ga 1 hour", 3500), entry("b", "Radio Ga Ga", 343)) == "b"


def test_the_artists_own_channel_wins() -> None:
    entries = entry("a", "Radio Ga Ga", channel="Fan"), entry("b", "Radio Ga Ga", channel="Queen - Topic")

    assert chosen("queen radio ga ga", *entries) == "b"


def test_every_candidate_says_why() -> None:
    best, other = rank(
        "queen radio ga ga",
        [entry("a", "Queen - Radio Ga Ga (Live) karaoke", 20), entry("b", "Radio Ga Ga", 343, channel="Queen - Topic")],
        3600,
    )

    assert best.reason == "all words match, the artist's own or a verified channel, as long as a song"
    assert other.reason == "all words match, not asked for: karaoke live, not as long as a song"


def test_live_and_endless_ones_are_left_out() -> None:
    live, long = entry("a", "Song", live_status="is_live"), entry("b", "Song", 9999)

    assert [each.media_id for each in rank("song", [live, long, entry("c", "Song")], 3600)] == ["youtube:c"]
    for only, code in ((live, FailureCode.SOURCE_LIVE), (long, FailureCode.SOURCE_TOO_LONG)):
        with pytest.raises(SourceError) as caught:
            rank("song", [only], 3600)
        assert caught.value.code is code


def test_long_names_fit_the_contract() -> None:
    (candidate,) = rank("x", [entry("a", "t" * 999, None, channel="c" * 999)], 3600)

    assert (len(candidate.title), len(candidate.channel or "")) == (256, 256)
