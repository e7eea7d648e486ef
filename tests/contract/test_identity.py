"""When two requests are the same request."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_contract import identity
from stemyard_contract.handover import Room, WorkStage
from stemyard_contract.quality import Quality
from stemyard_contract.separationjob import (
    LABEL_TRACK,
    ObjectSource,
    Output,
    SeparationJobSpec,
    Source,
    Stem,
    UploadSource,
)

BOTH = [Stem.VOCALS, Stem.INSTRUMENTAL]


def key(source: Source, **more: str) -> str:
    return identity.cache_key(source, "spleeter-2stems", BOTH, Output(), more.get("sharing_key"))


def query(text: str) -> Source:
    return Source(search_query=text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Queen - Bohemian Rhapsody ", "queen - bohemian  rhapsody"),
        ("ＱＵＥＥＮ", "queen"),
        ("Straße", "STRASSE"),
        ("\u200bqueen\u200d", "queen"),
        ("«queen»!", "queen"),
        ("que\ten", "que en"),
    ],
)
def test_queries_that_mean_the_same_are_one(one: str, other: str) -> None:
    assert identity.normalise_query(one) == identity.normalise_query(other)


@pytest.mark.parametrize(("one", "other"), [("!!!", "???"), ("queen live", "live queen"), ("the wall", "the walls")])
def test_queries_that_differ_stay_apart(one: str, other: str) -> None:
    assert identity.normalise_query(one) != identity.normalise_query(other)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = identity.normalise_query(text)
    assert identity.normalise_query(once) == once


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "a\x00b", "a\x1bb", "a\x85b", "x" * 501])
def test_unusable_queries_are_refused(text: str) -> None:
    with pytest.raises(identity.QueryError):
        identity.check_query(text)


def test_a_query_keeps_its_original_text() -> None:
    assert identity.check_query("  Queen – Live!\n") == "Queen – Live!"


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://youtube.com/watch?list=PL1&v=dQw4w9WgXcQ&t=3",
        "https://youtu.be/dQw4w9WgXcQ?si=abc",
        "https://m.youtube.com/shorts/dQw4w9WgXcQ",
        "https://music.youtube.com/watch?v=dQw4w9WgXcQ",
    ],
)
def test_every_link_to_a_video_is_the_video(url: str) -> None:
    assert identity.canonical_source(Source(url=url)) == "youtube:dQw4w9WgXcQ"


@pytest.mark.parametrize("url", ["https://www.youtube.com/@queen", "https://evil.example/watch?v=dQw4w9WgXcQ"])
def test_other_links_are_no_video(url: str) -> None:
    assert identity.youtube_id(url) is None


def test_urls_differ_only_where_it_matters() -> None:
    assert identity.normalise_url("HTTPS://Example.COM:443/A?b=1#frag") == "https://example.com/A?b=1"
    assert identity.normalise_url("http://[2001:DB8::1]:8080") == "http://[2001:db8::1]:8080/"


def test_stems_are_a_set() -> None:
    swapped = identity.cache_key(query("q"), "spleeter-2stems", BOTH[::-1], Output())
    assert swapped == key(query("q"))


def test_everything_that_changes_the_result_changes_the_key() -> None:
    keys = {
        key(query("q")),
        key(query("q"), sharing_key="team-a"),
        identity.cache_key(query("q"), "other", BOTH, Output()),
        identity.cache_key(query("q"), "spleeter-2stems", [Stem.VOCALS], Output()),
        identity.cache_key(query("q"), "spleeter-2stems", BOTH, Output(bitrate=128)),
        key(Source(url="https://example.com/q")),
        key(Source(upload=UploadSource(id=str(uuid.UUID(int=1)), owner="default"))),
        key(Source(object=ObjectSource(key="q"))),
        key(Source(object=ObjectSource(key="Q"))),
        *(
            identity.cache_key(query("q"), "spleeter-2stems", BOTH, Output(), quality=quality)
            for quality in (Quality.FAST, Quality.BEST)
        ),
    }
    assert len(keys) == 11


def test_the_default_quality_is_not_hashed() -> None:
    """Tracks made before there was a choice keep their ids."""
    plain = identity.cache_key(query("q"), "spleeter-2stems", BOTH, Output(), quality=Quality.BALANCED)
    assert plain == key(query("q"))
    spec = SeparationJobSpec(source=query("q"), quality=Quality.BEST)
    best = identity.cache_key(query("q"), "spleeter-2stems", BOTH, Output(), quality=Quality.BEST)
    assert identity.spec_cache_key(spec, "spleeter-2stems") == best


def test_golden_values() -> None:
    """A change here gives every stored track another id: do not update these values, find what changed."""
    golden = key(query("Queen - Bohemian Rhapsody"))
    assert golden == "c923097e4fe0a636c24cfec0106da118ecde54d8b8a20611f12b23de5f190454"
    assert identity.track_id(golden) == "46b11a48-41f0-559a-af30-93e7048b83a2"


def test_auto_is_the_default_model() -> None:
    spec = SeparationJobSpec(source=query("Queen - Bohemian Rhapsody"))
    assert identity.spec_cache_key(spec, "spleeter-2stems") == key(query("Queen - Bohemian Rhapsody"))


def test_names_fit_kubernetes() -> None:
    name = identity.resource_name(identity.track_id("0" * 64))
    job = identity.job_name(name, "12345678-aaaa", WorkStage.SEPARATE, 99999, 31)
    assert len(name) == identity.NAME_LIMIT
    assert job == f"{name}-12345678-s99999-31"
    assert len(job) <= 63


def test_a_hand_written_job_has_a_track_id_of_its_own() -> None:
    track = identity.track_id("0" * 64)
    assert identity.track_of("team", identity.resource_name(track), {LABEL_TRACK: track}) == track
    assert identity.track_of("team", "my-song", {LABEL_TRACK: track}) == "team.my-song"
    assert identity.track_of("team", "my-song", {}) == "team.my-song"


def test_object_keys_are_unguessable_and_apart() -> None:
    tokens = {
        identity.object_token("uid", 1, "pod", Room.STEMS),
        identity.object_token("uid", 2, "pod", Room.STEMS),
        identity.object_token("uid", 1, "pod2", Room.STEMS),
        identity.object_token("uid", 1, "pod", Room.WORK),
    }
    assert len(tokens) == 4
    assert identity.object_prefix("inst", Room.STEMS, "t", "k") == "inst/stems/t/k/"
    assert identity.upload_key("inst", "default", "u") == "inst/uploads/default/u/source"
