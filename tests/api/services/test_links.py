"""Links: their host, caching, expiry and the file names of stems."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stemyard_api.clients.s3 import STEM_LINK_SECONDS, ObjectStoreClient
from stemyard_api.errors import MisconfiguredError
from stemyard_api.services.links import LinkBuilder
from stemyard_contract.separationjob import Stem
from tests.api import tracks
from tests.api.settings_for_tests import settings

NOW = 1234567922.0
KEYS = {"r2_access_key_id": "access", "r2_secret_access_key": "secret", "s3_region": "us-east-1"}


def signer(**changes: Any) -> ObjectStoreClient:
    return ObjectStoreClient(settings(s3_endpoint_url="http://inside:7070", **{**KEYS, **changes}))


def test_links_are_signed_for_the_host_that_clients_use() -> None:
    links = LinkBuilder(signer(s3_public_endpoint_url="http://outside:30900"), None).links_for(tracks.completed(), NOW)
    for stem, url in links.urls.items():
        parts = urlsplit(url)
        assert (parts.netloc, parts.path) == ("outside:30900", f"/stemyard/{tracks.KEYS[stem]}")
        query = parse_qs(parts.query)
        assert query["X-Amz-SignedHeaders"] == ["host"]
        assert query["X-Amz-Expires"] == [str(STEM_LINK_SECONDS)]
        assert query["response-content-disposition"][0].startswith("attachment; ")
        assert not any(name.lower().startswith("x-amz-checksum") for name in query)
    assert links.expires_at == NOW + STEM_LINK_SECONDS


def test_links_are_valid_for_seven_days() -> None:
    links = LinkBuilder(signer(), None).links_for(tracks.completed(), NOW)
    assert parse_qs(urlsplit(links.urls[Stem.VOCALS]).query)["X-Amz-Expires"] == ["604800"]
    assert links.expires_at == NOW + 604_800


def test_amazon_s3_uses_virtual_hosted_addresses() -> None:
    objects = ObjectStoreClient(
        settings(s3_endpoint_url="https://s3.eu-west-1.amazonaws.com", **{**KEYS, "s3_region": "eu-west-1"})
    )
    url = LinkBuilder(objects, None).links_for(tracks.completed(), NOW).urls[Stem.VOCALS]
    assert urlsplit(url).netloc == "stemyard.s3.eu-west-1.amazonaws.com"


def test_links_do_not_outlive_the_track() -> None:
    record = tracks.completed(expires_at=NOW + 60)
    assert LinkBuilder(signer(), None).links_for(record, NOW).expires_at == NOW + 60


def test_signed_links_are_cached_for_half_their_lifetime() -> None:
    links, record = LinkBuilder(signer(), None), tracks.completed()
    first = links.links_for(record, NOW)
    assert links.links_for(record, NOW + STEM_LINK_SECONDS / 2) is first
    later = links.links_for(record, NOW + STEM_LINK_SECONDS / 2 + 1)
    assert later is not first
    assert links.links_for(record, NOW + STEM_LINK_SECONDS / 2 + 2) is later
    assert links.links_for(tracks.completed(run=2, status_run=2), NOW) is not first
    assert links.links_for(tracks.completed(uid="u2"), NOW) is not first


def test_with_a_public_domain_links_are_permanent() -> None:
    record = tracks.completed()
    links = LinkBuilder(None, "https://media.example.com").links_for(record, NOW)
    assert links.urls[Stem.VOCALS] == f"https://media.example.com/main/stems/{tracks.TRACK}/{tracks.TOKEN}/vocals.mp3"
    assert links.expires_at == record.expires_at


def test_peaks_are_linked_if_they_exist() -> None:
    record = tracks.completed(peaks_keys={Stem.VOCALS: "main/stems/x/tok/vocals.peaks.json"})
    signed = LinkBuilder(signer(), None).links_for(record, NOW).peaks
    assert urlsplit(signed[Stem.VOCALS]).path == "/stemyard/main/stems/x/tok/vocals.peaks.json"
    assert "response-content-disposition" not in parse_qs(urlsplit(signed[Stem.VOCALS]).query)
    opened = LinkBuilder(None, "https://media.example.com").links_for(record, NOW).peaks
    assert opened == {Stem.VOCALS: "https://media.example.com/main/stems/x/tok/vocals.peaks.json"}
    assert LinkBuilder(signer(), None).links_for(tracks.completed(), NOW).peaks == {}


def test_links_need_an_object_store() -> None:
    with pytest.raises(MisconfiguredError):
        LinkBuilder(None, None).links_for(tracks.completed(), NOW)
