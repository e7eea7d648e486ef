"""Capabilities match what submissions accept."""

from typing import Any

import httpx
import pytest

from stemyard_api.auth.api_keys import Principal, Scope
from stemyard_api.errors import ApiError
from stemyard_api.routes.capabilities import key_capabilities
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.services.order import build_order
from tests.api.settings_for_tests import settings

SETTINGS = settings(enabled_models="spleeter-2stems,htdemucs_6s", max_file_size_mb=7)
STORE = {"s3_endpoint_url": "http://store", "r2_access_key_id": "a", "r2_secret_access_key": "b"}
READER = Principal("reader", frozenset({Scope.READ}))


async def test_capabilities_need_any_valid_key(anonymous: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    answer = (await client.get("/capabilities")).json()
    assert answer["key"] == {"id": "default", "scopes": ["admin", "read", "submit"]}
    assert answer["models"] == [
        {
            "name": "spleeter-2stems",
            "stems": ["instrumental", "vocals"],
            "qualities": ["balanced", "best"],
            "default": True,
        }
    ]
    del anonymous.headers["X-API-Key"]
    assert (await anonymous.get("/capabilities")).status_code == 401


def test_everything_that_is_offered_is_accepted() -> None:
    offered = key_capabilities(SETTINGS, READER)
    assert offered["key"] == {"id": "reader", "scopes": ["read"]}
    assert [model["qualities"] for model in offered["models"]] == [["balanced", "best"], ["fast", "balanced", "best"]]
    for model in offered["models"]:
        for quality in model["qualities"]:
            order = build_order(
                SeparationRequest(search_query="a", model=model["name"], quality=quality), READER, SETTINGS
            )
            assert order.spec.quality == quality
        for form in offered["formats"]:
            qualities = [{"bitrate": rate} for rate in form.get("bitrates", [])]
            qualities += [{"bit_depth": bits} for bits in form.get("bit_depths", [])]
            assert qualities
            for each in qualities:
                wanted = {"model": model["name"], "stems": model["stems"], "format": form["name"], **each}
                order = build_order(SeparationRequest(search_query="a", **wanted), READER, SETTINGS)
                assert order.spec.output.format == form["name"]


@pytest.mark.parametrize(
    ("changes", "offered", "request_for_it"),
    [
        ({"youtube_enabled": False}, ("search", False), {"search_query": "a"}),
        ({"youtube_enabled": True}, ("search", True), {"search_query": "a"}),
        ({}, ("url", True), {"url": "https://example.com/a.mp3"}),
        ({}, ("object", False), {"object": "songs/a.mp3"}),
        ({"object_source_prefixes": "songs/", **STORE}, ("object", True), {"object": "songs/a.mp3"}),
    ],
)
def test_offered_kinds_of_source_are_accepted(
    changes: dict[str, Any], offered: tuple[str, bool], request_for_it: dict[str, str]
) -> None:
    given = settings(**changes)
    kind, wanted = offered
    assert key_capabilities(given, READER)["sources"][kind] is wanted  # type: ignore[literal-required]
    try:
        build_order(SeparationRequest(**request_for_it), READER, given)
        accepted = True
    except ApiError:
        accepted = False
    assert accepted is wanted


def test_limits_are_reported() -> None:
    sources = key_capabilities(SETTINGS, READER)["sources"]
    assert (sources["max_file_size_mb"], sources["max_duration_seconds"], sources["upload"]) == (7, 3600, False)
