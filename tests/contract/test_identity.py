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
    SeparationJobStatus,
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
        ("\u0390", "\u0390".upper()),  # one character, and three that only a second NFKC makes one again
        ("... queen", "queen (...)"),
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


def test_a_query_has_at_most_500_characters() -> None:
    assert identity.check_query("x" * 500) == "x" * 500
    with pytest.raises(identity.QueryError, match="at most 500 characters"):
        identity.check_query("x" * 501)


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


@pytest.mark.parametrize(
    "link",
    [
        "https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ",
        "https://www.youtube.com/e/dQw4w9WgXcQ",
        "https://www.youtube.com/v/dQw4w9WgXcQ",
        "https://www.youtube.com/live/dQw4w9WgXcQ",
        "https://www.youtube.com/watch/dQw4w9WgXcQ",
        "https://gaming.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/attribution_link?a=x&u=%2Fwatch%3Fv%3DdQw4w9WgXcQ%26feature%3Dshare",
        "https://consent.youtube.com/m?continue=https%3A%2F%2Fwww.youtube.com%2Fwatch%3Fv%3DdQw4w9WgXcQ&gl=DE",
        "https://consent.google.com/ml?continue=https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "youtube.com/watch?v=dQw4w9WgXcQ",
        "www.youtube.com/shorts/dQw4w9WgXcQ",
        "youtu.be/dQw4w9WgXcQ?si=abc",
        "https://www.youtu.be/dQw4w9WgXcQ",
        "//youtu.be/dQw4w9WgXcQ",
        "YouTube.com/watch?v=dQw4w9WgXcQ",
    ],
)
def test_every_form_of_a_link_names_the_video(link: str) -> None:
    assert identity.youtube_id(link) == "dQw4w9WgXcQ"
    assert identity.canonical_source(Source(search_query=f" {link} ")) == "youtube:dQw4w9WgXcQ"


def test_ids_in_queries_keep_their_case() -> None:
    links = ("https://youtu.be/dQw4w9WgXcQ", "https://youtu.be/dqw4w9wgxcq")

    assert len({identity.canonical_source(Source(search_query=link)) for link in links}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "youtube.com",
        "dQw4w9WgXcQ",
        "see youtu.be/dQw4w9WgXcQ",
        "queen // live",
        "https://[broken",
        "youtube",
        "a:b/c",
        "https://consent.youtube.com/m?continue=https://consent.youtube.com/m",
        "https://consent.google.com/m?continue=x",
        "https://consent.youtube.com/m?gl=DE",
        "https://consent.youtube.com/m?continue=https://consent.youtube.com/m?continue=https://youtu.be/dQw4w9WgXcQ",
        "https://www.youtube.com/attribution_link?u=/attribution_link?u=%2Fwatch%3Fv%3DdQw4w9WgXcQ",
    ],
)
def test_other_text_is_a_query(text: str) -> None:
    assert identity.youtube_id(text) is None
    assert identity.canonical_source(Source(search_query=text)).startswith("query:")


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/@queen",
        "https://evil.example/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/watch?list=PL1",
        "https://www.youtube.com/channel/dQw4w9WgXcQ",
        "https://www.youtube.com/shorts",
        "https:///youtu.be",
    ],
)
def test_other_links_are_no_video(url: str) -> None:
    assert identity.youtube_id(url) is None


def test_urls_differ_only_where_it_matters() -> None:
    assert identity.normalise_url("HTTPS://Example.COM:443/A?b=1#frag") == "https://example.com/A?b=1"
    assert identity.normalise_url("http://[2001:DB8::1]:8080") == "http://[2001:db8::1]:8080/"
    assert identity.normalise_url("http://[fe80::1%ETH0]/") == "http://[fe80::1%eth0]/"
    assert identity.normalise_url(" http://example.com:80/ ") == "http://example.com/"
    assert identity.normalise_url("https://example.com:80/") == "https://example.com:80/"
    assert identity.normalise_url("https://User:Pw@Example.com/") == "https://User:Pw@example.com/"


@pytest.mark.parametrize("text", ["!queen", "queen!", "!?queen?!", "!?!queen!?!"])
def test_punctuation_at_the_ends_does_not_matter(text: str) -> None:
    assert identity.normalise_query(text) == "queen"


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


def quality_key(quality: Quality) -> str:
    return identity.cache_key(query("q"), "spleeter-2stems", BOTH, Output(), quality=quality)


def test_golden_values_of_what_is_hashed_only_where_it_is_not_the_default() -> None:
    assert quality_key(Quality.FAST) == "92a52c4429ffba12c0401e255bd78c15e0134bcb4d38500cba1896b5584713f2"
    assert quality_key(Quality.BEST) == "9bbc7014111c890a2123ea2e296c389056fad75dd3b9da63376c18131024cf3f"
    of_team = key(query("q"), sharing_key="team-a")
    assert of_team == "044516b77951c7f49ee61a1e7333a778586c326acbcc8dada3e6395d2188e98c"


def test_a_duplicate_is_the_same_audio_with_the_same_settings() -> None:
    spec = SeparationJobSpec(source=query("q"))
    found = identity.recording_key(spec, "spleeter-2stems", None, "ab" * 32)
    assert found == "4beec36a58231c5a5eb57d139a6038e17a7b078874a4bbd5f94c864636016e1a"
    named = SeparationJobSpec(source=query("other"), model="spleeter-2stems")
    assert identity.recording_key(named, "htdemucs", None, "ab" * 32) == found
    assert identity.recording_key(spec, "htdemucs", None, "ab" * 32) != found
    assert identity.recording_key(spec, "spleeter-2stems", "team-a", "ab" * 32) != found


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
    name = identity.resource_name(track)
    assert identity.track_of("team", name, {LABEL_TRACK: track}, "team") == track
    assert identity.track_of("team", "my-song", {LABEL_TRACK: track}, "team") == "team.my-song"
    assert identity.track_of("team", "my-song", {}, "team") == "team.my-song"


@pytest.mark.parametrize("label", ["a.b", "team.song", "", "X" * 36])
def test_only_the_api_gives_a_track_id(label: str) -> None:
    """Ids can be computed by anybody who knows the request, and names and labels can be chosen."""
    track = identity.track_id("0" * 64)
    name = identity.resource_name(track)
    assert identity.track_of("tenant", name, {LABEL_TRACK: track}, "team") == f"tenant.{name}"
    forged = identity.resource_name(label)
    assert identity.track_of("team", forged, {LABEL_TRACK: label}, "team") == f"team.{forged}"


def test_object_keys_are_unguessable_and_apart() -> None:
    tokens = {
        identity.object_token("uid", 1, "pod", Room.STEMS),
        identity.object_token("uid", 2, "pod", Room.STEMS),
        identity.object_token("uid", 1, "pod2", Room.STEMS),
        identity.object_token("uid", 1, "pod", Room.WORK),
    }
    assert len(tokens) == 4
    assert identity.object_token("uid", 1, "pod", Room.STEMS) == "dc74a6529dcae17ecc9bed37e69deb9a"
    assert identity.object_prefix("inst", Room.STEMS, "t", "k") == "inst/stems/t/k/"
    assert identity.upload_key("inst", "default", "u") == "inst/uploads/default/u/source"


@pytest.mark.parametrize(
    ("key", "own"),
    [
        (f"i/stems/music.song/{'a' * 32}/vocals.mp3", True),
        (f"i/stems/music.victim/{'a' * 32}/vocals.mp3", False),
        (f"i/work/music.song/{'a' * 32}/vocals.mp3", False),
        (f"i/stems/music.song/{'a' * 32}/", False),
        (f"i/stems/music.song/{'a' * 32}/b/vocals.mp3", False),
        (f"i/stems/music.song/{'a' * 31}/vocals.mp3", False),
        (f"i/stems/music.song/{'A' * 32}/vocals.mp3", False),
        ("i/stems/music.song/vocals.mp3", False),
        ("i/stems/music.song/../music.victim/vocals.mp3", False),
        ("i/stems/x", False),
        ("x", False),
        ("", False),
    ],
)
def test_a_key_is_of_the_track_whose_pods_write_it(key: str, own: bool) -> None:
    assert identity.is_of_track(key, Room.STEMS, "music.song") is own


def test_a_status_has_its_own_objects_only() -> None:
    own, others = (f"i/{{}}/music.{name}/{'a' * 32}/{{}}" for name in ("song", "victim"))

    def kept(stems: str, work: str, peaks: str = own, manifest: str = own) -> tuple[bool, bool]:
        stem = {"key": stems.format("stems", "vocals.mp3"), "peaksKey": peaks.format("stems", "vocals.json")}
        result: dict[str, object] = {
            "manifestKey": manifest.format("stems", "manifest.json"),
            "model": "m",
            "modelDigest": "d",
        }
        result |= {"stems": {"vocals": {**stem, "bytes": 1, "sha256": "0", "duration": 1}}}
        result |= {"realTimeFactor": 1, "device": "cpu"}
        source = {"title": "Song", "markKey": work.format("work", "source.json"), "markSha256": "0"}
        status = SeparationJobStatus.model_validate({"result": result, "source": source})
        found = identity.with_own_objects(status, "music.song")
        assert found.source is not None
        assert found.source.title == "Song"
        assert (found.source.mark_key is None) is (found.source.mark_sha256 is None)
        return found.result is not None, found.source.mark_key is not None

    assert kept(own, own) == (True, True)
    assert kept(others, own) == kept(own, own, peaks=others) == kept(own, own, manifest=others) == (False, True)
    assert kept(own, others) == (True, False)
    assert identity.with_own_objects(SeparationJobStatus(), "music.song") == SeparationJobStatus()
