from pathlib import Path

import httpx
import pytest

from stemyard_client import Client
from stemyard_client.effects import Request
from stemyard_client.transport import Address, AddressError, source_of

NOT_STORED: dict[str, str | None] = {"upload_id": None, "object": None}


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("Song Title", {"search_query": "Song Title"}),
        ("https://host/a.mp3", {"url": "https://host/a.mp3"}),
        ("HTTP://host/a.mp3", {"url": "HTTP://host/a.mp3"}),
        ("song.mp3", {"search_query": "song.mp3"}),
    ],
)
def test_text_is_a_url_or_a_search(source: str, fields: dict[str, str]) -> None:
    assert source_of(source, None, None, None, NOT_STORED) == (fields, None)


def test_a_path_is_a_file() -> None:
    assert source_of(Path("a.mp3"), None, None, None, NOT_STORED) == ({}, Path("a.mp3"))
    assert source_of(None, None, Path("a.mp3"), None, NOT_STORED) == ({}, Path("a.mp3"))
    assert source_of(None, None, None, None, {"upload_id": "u", "object": None}) == ({"upload_id": "u"}, None)


def test_there_is_exactly_one_source() -> None:
    for source, query, path in ((None, None, None), ("a", "b", None), (None, "b", Path("c"))):
        with pytest.raises(ValueError, match="exactly one source"):
            source_of(source, query, path, None, NOT_STORED)


def test_the_key_goes_to_the_api_only() -> None:
    address = Address.of(" https://host/base/ ", "secret ")
    with httpx.Client() as http:
        api = address.build(http, Request("GET", "/jobs", params={"phase": ["Queued", "Fetching"], "all": True}))
        store = address.build(http, Request("PUT", "https://store/link?signed", content=b"x"))
    assert str(api.url) == "https://host/base/jobs?phase=Queued&phase=Fetching&all=true"
    assert api.headers["X-API-Key"] == "secret"
    assert "X-API-Key" not in store.headers
    assert store.headers["Content-Length"] == "1"


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host", "https://", "https://[::1", "https://host:port", "https://host:0"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(AddressError, match="not the URL of an API"):
        Address.of(url, "key")


@pytest.mark.parametrize("key", ["", " ", "a\nb", "schlüssel"])
def test_what_is_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(AddressError) as refused:
        Address.of("https://host", key)
    assert key.strip() == "" or key not in str(refused.value)


def test_the_environment_names_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMYARD_URL", "https://host")
    monkeypatch.setenv("STEMYARD_API_KEY", "key")
    Client.from_environment().close()
    monkeypatch.delenv("STEMYARD_URL")
    with pytest.raises(AddressError):
        Client.from_environment()
