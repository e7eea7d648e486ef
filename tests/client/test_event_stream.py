from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_client.event_stream import EventStreamError, EventStreamParser, ServerEvent

STREAM = (
    "retry: 1500\nid: 5-0\nevent: snapshot\ndata: {}\n\n"
    ": beat\n\n"
    "event: progress\r\nid:6-0\r\ndata:one\r\ndata: two\r\n\r\n"
    "data: mêlée\n\n"
).encode()
EVENTS = [ServerEvent("snapshot", "{}"), ServerEvent("progress", "one\ntwo"), ServerEvent("message", "mêlée")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_events_are_the_same_however_the_bytes_arrive(cuts: list[int]) -> None:
    parser, places = EventStreamParser(), [0, *sorted(cuts), len(STREAM)]
    found = [event for start, end in pairwise(places) for event in parser.feed(STREAM[start:end])]
    assert found == EVENTS
    assert (parser.last_id, parser.retry_seconds) == ("6-0", 1.5)


def test_what_was_begun_is_forgotten_with_the_connection() -> None:
    parser = EventStreamParser()
    assert list(parser.feed(b"id: 1\nevent: end\ndata: half")) == []
    parser.restart()
    assert list(parser.feed(b"data: whole\n\n")) == [ServerEvent("message", "whole")]
    assert parser.last_id == "1"


def test_fields_without_meaning_are_ignored() -> None:
    parser = EventStreamParser()
    fields = b"retry: soon\nid: a\0b\nstrange: x\nevent: lost\n\ndata: x\n\n"
    assert list(parser.feed(fields)) == [ServerEvent("message", "x")]
    assert (parser.last_id, parser.retry_seconds) == (None, 3.0)


def test_a_line_without_end_is_refused() -> None:
    parser = EventStreamParser()
    assert list(parser.feed(b"x" * (8 << 20))) == []
    with pytest.raises(EventStreamError):
        list(parser.feed(b"x"))


def test_an_event_without_end_is_refused() -> None:
    parser, line = EventStreamParser(), b"data: " + b"x" * ((1 << 20) - 7) + b"\n"
    for _ in range(8):
        assert list(parser.feed(line)) == []
    with pytest.raises(EventStreamError):
        list(parser.feed(b"data: x\n"))


def test_many_events_are_no_long_one() -> None:
    parser, event = EventStreamParser(), b"data: " + b"x" * (1 << 20) + b"\n\n"
    assert sum(len(list(parser.feed(event))) for _ in range(20)) == 20


@pytest.mark.parametrize("digits", ["99999999", "9" * 30, "9" * 5000])
def test_no_server_asks_for_a_pause_without_end(digits: str) -> None:
    parser = EventStreamParser()
    assert list(parser.feed(f"retry: {digits}\n\n".encode())) == []
    assert parser.retry_seconds == 60.0


@pytest.mark.parametrize("text", ["é", "a\x01b", "a\tb"])
def test_an_id_that_no_header_may_have_is_ignored(text: str) -> None:
    parser = EventStreamParser()
    assert list(parser.feed(f"id: {text}\n\n".encode())) == []
    assert parser.last_id is None
