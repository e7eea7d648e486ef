"""Whose key a call uses."""

from collections.abc import Mapping

import pytest

from stemyard_client import AsyncClient
from stemyard_mcp.callers import Callers, NoKeyError, bearer

URL = "http://127.0.0.1:9"
OWN = "the-key-of-the-host"


def key_of(client: AsyncClient) -> str | None:
    return client._driver._address.headers.get("X-API-Key")


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
        (None, None),
    ],
)
def test_a_key_is_a_bearer_token(header: str | None, key: str | None) -> None:
    assert bearer(header) == key


@pytest.mark.parametrize(
    ("callers", "headers", "key"),
    [
        (Callers(URL, OWN), None, OWN),
        (Callers(URL, ""), None, None),
        (Callers(URL, OWN, remote=True), {"authorization": "Bearer mine"}, "mine"),
        (Callers(URL, OWN, remote=True, shared=True), {"authorization": "Bearer mine"}, "mine"),
        (Callers(URL, OWN, remote=True, shared=True), {}, OWN),
    ],
)
async def test_each_call_has_its_own_key(callers: Callers, headers: Mapping[str, str] | None, key: str | None) -> None:
    async with callers.client(headers) as client:
        assert key_of(client) == key


@pytest.mark.parametrize("headers", [None, {}, {"authorization": "Basic abc"}])
def test_a_call_without_a_key_gets_no_other(headers: Mapping[str, str] | None) -> None:
    with pytest.raises(NoKeyError):
        Callers(URL, OWN, remote=True).client(headers)


def test_a_key_is_not_shown() -> None:
    assert OWN not in repr(Callers(URL, OWN))
