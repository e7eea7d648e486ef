"""A search query goes through the real yt-dlp in the real fetch container; only YouTube itself is stood in for."""

import httpx
import pytest

from tests.cluster.conftest import System
from tests.cluster.separations import failure_code, separate

pytestmark = pytest.mark.cluster


def test_a_search_finds_the_song(system: System) -> None:
    state = separate(system.service, {"search_query": "The Stand-ins - Loopback Blues"})
    assert state["status"] == "completed"
    source = system.resource_of(str(state["track_id"]))["status"]["source"]
    assert source["mediaId"] == "youtube:theRealSong"
    assert source["title"] == "The Stand-ins - Loopback Blues"
    assert [candidate["mediaId"] for candidate in source["candidates"] if candidate["chosen"]] == [source["mediaId"]]
    assert len(source["candidates"]) == 2, "ten hours are no candidate"


def test_a_search_without_hits_fails_with_its_code(system: System) -> None:
    assert failure_code(system.service, {"search_query": "zero hits"}) == "SOURCE_NOT_FOUND"


def test_a_failed_track_is_known_and_tells_why(system: System) -> None:
    assert failure_code(system.service, {"url": f"{system.media_url}/noise.bin"}) == "SOURCE_UNDECODABLE"


def test_a_file_over_the_limit_fails_while_it_is_downloaded(system: System) -> None:
    assert failure_code(system.service, {"url": f"{system.media_url}/endless.mp3"}) == "SOURCE_TOO_LARGE"


def test_a_private_address_is_refused(system: System) -> None:
    assert failure_code(system.service, {"url": "http://127.0.0.1:5500/health"}) == "SOURCE_ADDRESS_REFUSED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "search_query"),
        ({"search_query": ""}, "search_query"),
        ({"search_query": "x" * 501}, "search_query"),
        ({"search_query": "a\u0007b"}, "search_query"),
    ],
)
def test_a_bad_query_is_answered_at_once(system: System, body: dict[str, str], field: str) -> None:
    answer = httpx.post(
        f"{system.service.url}/separate-audio", json=body, headers={"X-API-Key": system.service.api_key}, timeout=10
    )
    assert answer.status_code == 422
    assert field in answer.text


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}])
def test_without_the_key_there_is_nothing(system: System, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{system.service.url}/separate-audio", json={"search_query": "q"}, headers=headers, timeout=10)
    assert answer.status_code == 401


def test_an_unknown_track_is_not_found(system: System) -> None:
    answer = httpx.get(
        f"{system.service.url}/job/00000000-0000-5000-8000-000000000000",
        headers={"X-API-Key": system.service.api_key},
        timeout=10,
    )
    assert answer.status_code == 404
