"""A request body becomes one resource, or an error that names the field."""

from typing import Any

import pytest
from pydantic import ValidationError

from stemyard_api.auth.api_keys import KeyLimits, Principal, Scope
from stemyard_api.errors import (
    ApiError,
    ForbiddenError,
    InvalidRequestError,
    ModelNotEnabledError,
    SourceDisabledError,
    UploadNotFoundError,
)
from stemyard_api.schemas.requests import SOURCE_FIELDS, SeparationRequest
from stemyard_api.services.order import Order, build_order
from stemyard_api.services.stored_sources import mint_upload_id
from stemyard_contract.identity import track_id
from stemyard_contract.separationjob import LABEL_TRACK, SeparationJobSpec
from tests.api.settings_for_tests import settings

DEFAULT = Principal("default")
WISHES: dict[str, dict[str, Any]] = {
    "model": {"model": "htdemucs"},
    "quality": {"quality": "best"},
    "stems": {"stems": ["vocals"]},
    "format": {"format": "flac"},
    "bitrate": {"bitrate": 128},
    "bit_depth": {"format": "flac", "bit_depth": 16},
    "vbr_quality": {"vbr_quality": 2},
    "sample_rate": {"sample_rate": "48000"},
    "channels": {"channels": "source"},
    "webhook_url": {"webhook_url": "https://hooks.example.com/"},
    "webhook_events": {"webhook_url": "https://hooks.example.com/", "webhook_events": ["separation.failed"]},
    "metadata": {"metadata": {"order": 7}},
    "priority": {"priority": 1},
    "cache": {"cache": "refresh"},
}
"""For each field but the source's a request in which it changes what is ordered."""


def order(body: dict[str, Any], principal: Principal = DEFAULT, **changes: Any) -> Order:
    return build_order(SeparationRequest.model_validate(body), principal, settings(**changes))


def test_every_field_but_the_source_s_has_a_wish() -> None:
    assert WISHES.keys() == SeparationRequest.model_fields.keys() - set(SOURCE_FIELDS)


@pytest.mark.parametrize("name", WISHES)
def test_every_field_changes_what_is_ordered(name: str) -> None:
    """One that is declared alone would be accepted, shown in the OpenAPI document, and ignored."""
    models = "spleeter-2stems,htdemucs"
    with_it = {"search_query": "a", **WISHES[name]}
    without = {key: value for key, value in with_it.items() if key != name}
    assert order(with_it, enabled_models=models) != order(without, enabled_models=models)


def test_defaults_are_explicit() -> None:
    made = order({"search_query": " Song Title  Artist "})
    manifest = made.manifest("stemyard")
    assert manifest["metadata"] == {
        "name": f"sep-{made.track_id}",
        "namespace": "stemyard",
        "labels": {LABEL_TRACK: made.track_id},
    }
    assert made.track_id == track_id(made.cache_key)
    spec = manifest["spec"]
    assert spec["source"] == {"searchQuery": "Song Title  Artist"}
    assert spec["model"] == "spleeter-2stems"
    assert spec["stems"] == ["instrumental", "vocals"]
    assert spec["output"] == {"format": "mp3", "bitrate": 320}
    assert (spec["run"], spec["cancel"]) == (1, False)
    assert spec["claims"] == [{"key": "default"}]
    assert SeparationJobSpec.model_validate(spec) == made.spec


@pytest.mark.parametrize(
    "same",
    [
        {"search_query": "song title artist"},
        {"search_query": "“Song Title Artist”", "model": "spleeter-2stems"},
        {"search_query": "Song Title Artist", "stems": ["vocals", "instrumental", "vocals"]},
        {"search_query": "Song Title Artist", "metadata": {"a": 1}, "cache": "refresh", "url": None},
        {"search_query": "Song Title Artist", "unknown": True},
        {"search_query": "Song Title Artist", "bitrate": 320.0},
    ],
)
def test_equivalent_requests_are_one_track(same: dict[str, Any]) -> None:
    assert order(same).track_id == order({"search_query": "Song Title Artist"}).track_id


@pytest.mark.parametrize(
    "other",
    [
        {"search_query": "Artist Song Title"},
        {"search_query": "Song Title Artist", "stems": ["vocals"]},
        {"search_query": "Song Title Artist", "bitrate": 128},
        {"url": "https://example.com/Song Title Artist".replace(" ", "%20")},
    ],
)
def test_different_requests_are_different_tracks(other: dict[str, Any]) -> None:
    assert order(other).track_id != order({"search_query": "Song Title Artist"}).track_id


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"search_query": ""}, "search_query"),
        ({"search_query": " \t\n"}, "search_query"),
        ({"search_query": "x" * 501}, "search_query"),
        ({"search_query": "a\x00b"}, "search_query"),
        ({"search_query": "a\x9bb"}, "search_query"),
        ({"search_query": 5}, "search_query"),
        ({"search_query": "\ud83d"}, "search_query"),
        ({"url": "ftp://example.com/a.mp3"}, "url"),
        ({"url": "https:///a.mp3"}, "url"),
        ({"search_query": "a", "webhook_url": "https://example.com", "webhook_events": ["all"]}, "webhook_events"),
        ({"search_query": "a", "webhook_url": "ftp://example.com/hook"}, "webhook_url"),
        ({"search_query": "a", "webhook_url": "https://user:secret@example.com/hook"}, "webhook_url"),
        ({"search_query": "a", "webhook_url": "https://example.com/" + "a" * 1005}, "webhook_url"),
        ({"search_query": "a", "webhook_url": "https://example.com?" + "a" * 1004}, "webhook_url"),
        ({"url": "https://[::1/a.mp3"}, "url"),
        ({"url": "https://host:99999/a.mp3"}, "url"),
        ({"url": "https://user:secret@example.com/a.mp3"}, "url"),
        ({"url": "https://example.com/a b.mp3"}, "url"),
        ({"url": "https://example.com/" + "a" * 2048}, "url"),
        ({"object": ""}, "object"),
        ({"object": "incoming/../main/owner.json"}, "object"),
        ({"object": "/incoming/a.mp3"}, "object"),
        ({"object": "incoming/a\x00.mp3"}, "object"),
        ({"object": "incoming/\ud83d.mp3"}, "object"),
        ({"object": "x" * 1025}, "object"),
        ({"search_query": "a", "quality": "perfect"}, "quality"),
        ({"search_query": "a", "priority": 101}, "priority"),
        ({"search_query": "a", "priority": 1.5}, "priority"),
        ({"search_query": "a", "bitrate": 1e300}, "bitrate"),
        ({"search_query": "a", "priority": True}, "priority"),
        ({"search_query": "a", "stems": []}, "stems"),
        ({"search_query": "a", "stems": ["kazoo"]}, "stems"),
        ({"search_query": "a", "format": "wma"}, "format"),
        ({"search_query": "a", "bitrate": "320"}, "bitrate"),
        ({"search_query": "a", "bitrate": True}, "bitrate"),
        ({"search_query": "a", "metadata": [1]}, "metadata"),
        ({"search_query": "a", "metadata": {"a": "x" * 1025}}, "metadata"),
        ({"search_query": "a", "metadata": {"a": float("nan")}}, "metadata"),
        ({"search_query": "a", "cache": "never"}, "cache"),
        ({"search_query": "a", "model": None}, "model"),
    ],
)
def test_bad_input_names_its_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SeparationRequest.model_validate(body)
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://app.example.com/hook", "not https"),
        ("https://app.example.com:8443/hook", "port 8443"),
        ("https://10.0.0.7/hook", "not public"),
        ("https://2130706433/hook", "unusual form"),
        ("https://stemyard-redis.stemyard.svc/hook", "private network"),
    ],
)
def test_a_webhook_that_would_never_be_sent_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why) as caught:
        order({"search_query": "a", "webhook_url": url})
    assert [item.field for item in caught.value.fields] == ["webhook_url"]


def test_what_the_operator_sends_to_is_accepted() -> None:
    for url, changes in (
        ("http://app.example.com/hook", {"webhook_allow_http": True}),
        ("https://app.example.com:8443/hook", {"webhook_ports": (8443,)}),
        ("http://10.0.0.7:9000/hook", {"webhook_allowed_origins": ("http://10.0.0.7:9000",)}),
        ("http://10.0.0.7:9000/hook", {"webhook_url": "http://10.0.0.7:9000/hook"}),
    ):
        assert order({"search_query": "a", "webhook_url": url}, **changes).claim.webhook == url
    with pytest.raises(InvalidRequestError, match="not public"):
        order({"search_query": "a", "webhook_url": "https://8.8.8.8/"}, webhook_denied_cidrs=("8.8.8.0/24",))


def test_webhook_events_require_a_webhook_url() -> None:
    with pytest.raises(InvalidRequestError, match="webhook_events"):
        order({"search_query": "a", "webhook_events": ["separation.started"]})


@pytest.mark.parametrize(
    ("body", "error", "field"),
    [
        ({}, InvalidRequestError, "search_query"),
        ({"search_query": "a", "url": "https://example.com/a.mp3"}, InvalidRequestError, "url"),
        ({"search_query": "a", "object": "incoming/a.mp3"}, InvalidRequestError, "object"),
        ({"search_query": "a", "bitrate": 321}, InvalidRequestError, "bitrate"),
        ({"search_query": "a", "format": "flac", "bit_depth": 32}, InvalidRequestError, "bit_depth"),
        ({"search_query": "a", "format": "opus", "bit_depth": 16}, InvalidRequestError, "bit_depth"),
        ({"search_query": "a", "format": "flac", "vbr_quality": 2}, InvalidRequestError, "vbr_quality"),
        ({"search_query": "a", "format": "opus", "sample_rate": "48000"}, InvalidRequestError, "sample_rate"),
        ({"search_query": "a", "stems": ["drums"]}, InvalidRequestError, "stems"),
        ({"search_query": "a", "model": "demucs"}, ModelNotEnabledError, "model"),
    ],
)
def test_bad_orders_name_their_field(body: dict[str, Any], error: type[ApiError], field: str) -> None:
    with pytest.raises(error) as caught:
        order(body)
    assert [item.field for item in caught.value.fields] == [field]
    assert caught.value.status == 422


def test_an_upload_belongs_to_its_key() -> None:
    upload_id = mint_upload_id("main", "default")
    made = order({"upload_id": upload_id})
    assert made.spec.dump()["source"] == {"upload": {"id": upload_id, "owner": "default"}}
    with pytest.raises(UploadNotFoundError):
        order({"upload_id": upload_id}, Principal("studio"))


def test_objects_are_off_by_default() -> None:
    with pytest.raises(SourceDisabledError, match="are disabled"):
        order({"object": "incoming/a.mp3"})


@pytest.mark.parametrize("key", ["elsewhere/a.mp3", "incoming", "incoming-2/a.mp3", "main/stems/t/k/vocals.mp3"])
def test_objects_outside_the_prefixes_are_refused(key: str) -> None:
    with pytest.raises(SourceDisabledError) as caught:
        order({"object": key}, object_source_prefixes="incoming/")
    assert [item.field for item in caught.value.fields] == ["object"]


def test_an_object_of_an_allowed_prefix() -> None:
    made = order({"object": "incoming/a.mp3"}, object_source_prefixes="incoming, masters/")
    assert made.spec.dump()["source"] == {"object": {"key": "incoming/a.mp3"}}


def test_quality_matters_only_for_models_that_support_it() -> None:
    demucs = {"search_query": "a", "model": "htdemucs"}
    models = "spleeter-2stems,htdemucs"
    made = [order({**demucs, "quality": quality}, enabled_models=models) for quality in ("fast", "balanced", "best")]
    assert [one.spec.quality for one in made] == ["fast", "balanced", "best"]
    assert len({one.track_id for one in made}) == 3
    assert made[1].track_id == order(demucs, enabled_models=models).track_id
    default = order({"search_query": "a"})
    fast = order({"search_query": "a", "quality": "fast"})
    assert (fast.spec.quality, fast.track_id) == ("balanced", default.track_id)
    best = order({"search_query": "a", "quality": "best"})
    assert best.spec.quality == "best"
    assert best.track_id != default.track_id


def test_youtube_can_be_disabled() -> None:
    for body in ({"search_query": "a"}, {"url": "https://youtu.be/abcdefghijk"}):
        with pytest.raises(SourceDisabledError):
            order(body, youtube_enabled=False)
    assert order({"url": "https://example.com/a.mp3"}, youtube_enabled=False).spec.source.url


@pytest.mark.parametrize(
    ("principal", "highest"),
    [
        (DEFAULT, 100),
        (Principal("team", frozenset({Scope.SUBMIT})), 0),
        (Principal("team", frozenset({Scope.SUBMIT}), KeyLimits(priority=10)), 10),
        (Principal("boss", frozenset(Scope), KeyLimits(priority=-1)), -1),
    ],
)
def test_priority_is_limited_by_the_keys_entry(principal: Principal, highest: int) -> None:
    for priority in (highest, -100):
        made = order({"search_query": "a", "priority": priority}, principal)
        assert (made.spec.priority, made.track_id) == (priority, order({"search_query": "a"}).track_id)
    if highest < 100:
        with pytest.raises(ForbiddenError, match=f"priority: .* at most {highest}"):
            order({"search_query": "a", "priority": highest + 1}, principal)


def test_metadata_is_stored_as_text() -> None:
    made = order({"search_query": "a", "metadata": {"ü": [1, None]}})
    assert made.claim.metadata == '{"ü":[1,null]}'


def test_an_upload_id_may_be_sent_in_upper_case() -> None:
    upload_id = mint_upload_id("main", "default")
    assert order({"upload_id": upload_id.upper()}) == order({"upload_id": upload_id})
    with pytest.raises(UploadNotFoundError):
        order({"upload_id": upload_id.translate({ord(one): ord(one) + 0xFEE0 for one in "0123456789"})})
