"""The filter of listed tracks."""

from typing import Any

import pytest

from stemyard_api.errors import InvalidRequestError
from stemyard_api.services.track_filter import TrackFilter, parse_metadata, words_of
from stemyard_contract.separationjob import Phase
from tests.api import tracks


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("song title", True),
        ("ARTIST  song", True),
        ("channel", True),
        ("\uff33\uff4f\uff4e\uff47", True),
        ("song missing", False),
        ("   ", True),
    ],
)
def test_all_words_occur_without_regard_to_case_and_width(text: str, found: bool) -> None:
    assert TrackFilter(words=words_of(text)).matches(tracks.completed(), "default") is found


@pytest.mark.parametrize(
    ("metadata", "key", "found"),
    [
        ('{"order":7}', "default", True),
        ('{"order":7.0}', "default", False),
        ('{"order":true}', "default", False),
        ('{"order":"7"}', "default", False),
        ('{"order":7,"more":1}', "default", False),
        ('{"more":null}', "default", False),
        ("{}", "nobody", True),
        ('{"secret":1}', "default", False),
        ('{"secret":1}', "other", True),
    ],
)
def test_metadata_is_that_of_the_key_and_compared_as_json(metadata: str, key: str, found: bool) -> None:
    assert TrackFilter(metadata=parse_metadata(metadata)).matches(tracks.record(), key) is found


@pytest.mark.parametrize("text", ["[]", "7", "{", '{"a":1,"a":2}', "[" * 1000, '{"a":' * 200])
def test_metadata_must_be_an_object(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="metadata"):
        parse_metadata(text)


def test_the_phase_is_that_of_the_requested_run() -> None:
    queued = TrackFilter(phases=[Phase.QUEUED, Phase.PENDING])
    assert queued.matches(tracks.record(phase=Phase.QUEUED), "default")
    assert queued.matches(tracks.completed(run=2), "default")
    assert not queued.matches(tracks.completed(), "default")


def test_since_is_when_it_was_requested_or_has_ended() -> None:
    since = TrackFilter(since=tracks.CREATED + 10)
    ended: dict[str, Any] = {"ended_at": tracks.CREATED + 10}
    assert since.matches(tracks.completed(**ended), "default")
    assert not since.matches(tracks.completed(ended_at=tracks.CREATED + 9), "default")
    assert not since.matches(tracks.record(), "default")
    assert TrackFilter(since=tracks.CREATED).matches(tracks.record(), "default")
