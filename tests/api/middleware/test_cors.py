"""Pages of other origins may ask where the deployment names them, and nobody else's."""

from collections.abc import AsyncIterator

import httpx
import pytest

from stemyard_api.app import create_app
from tests.api.settings_for_tests import KEY, settings

PAGE = "https://app.example.com"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}


@pytest.fixture
async def client(nowhere: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(redis_url=nowhere.replace("http", "redis"), cors_allowed_origins=(PAGE,)))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://stemyard") as found:
            yield found


async def test_a_browser_may_ask_for_a_page_that_is_named(client: httpx.AsyncClient) -> None:
    before = await client.options("/separate-audio", headers={"Origin": PAGE, **ASKED})
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == PAGE
    assert {"GET", "POST", "DELETE"} == set(before.headers["access-control-allow-methods"].split(", "))
    assert "x-api-key" in before.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in before.headers


@pytest.mark.parametrize("path", ["/job/0f9f9a8e-8c5e-5a0e-9a53-3f0d7f6a2a11", "/health", "/nothing"])
async def test_pages_may_read_answers_and_their_headers(client: httpx.AsyncClient, path: str) -> None:
    found = await client.get(path, headers={"Origin": PAGE, "X-API-Key": KEY})
    assert found.headers["access-control-allow-origin"] == PAGE
    assert "RateLimit" in found.headers["access-control-expose-headers"]
    assert found.headers["vary"] == "Origin"


async def test_refusals_can_be_read_too(client: httpx.AsyncClient) -> None:
    refused = await client.post("/separate-audio", headers={"Origin": PAGE}, json={})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE


async def test_other_pages_may_not(client: httpx.AsyncClient) -> None:
    other = {"Origin": "https://evil.example"}
    assert (await client.options("/separate-audio", headers={**other, **ASKED})).status_code == 400
    assert "access-control-allow-origin" not in (await client.get("/health", headers=other)).headers
