"""Only pages of configured origins may call the API."""

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


async def test_preflights_of_allowed_origins_are_accepted(client: httpx.AsyncClient) -> None:
    before = await client.options("/separate-audio", headers={"Origin": PAGE, **ASKED})
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == PAGE
    taken = {method.upper() for path in create_app(settings()).openapi()["paths"].values() for method in path}
    assert {*taken, "HEAD"} == set(before.headers["access-control-allow-methods"].split(", "))
    assert "x-api-key" in before.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in before.headers


@pytest.mark.parametrize("path", ["/job/0f9f9a8e-8c5e-5a0e-9a53-3f0d7f6a2a11", "/health", "/nothing"])
async def test_allowed_origins_may_read_responses_and_headers(client: httpx.AsyncClient, path: str) -> None:
    found = await client.get(path, headers={"Origin": PAGE, "X-API-Key": KEY})
    assert found.headers["access-control-allow-origin"] == PAGE
    assert "RateLimit" in found.headers["access-control-expose-headers"]
    assert found.headers["vary"] == "Origin"


async def test_allowed_origins_may_read_errors(client: httpx.AsyncClient) -> None:
    refused = await client.post("/separate-audio", headers={"Origin": PAGE}, json={})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE


async def test_other_origins_are_refused(client: httpx.AsyncClient) -> None:
    other = {"Origin": "https://evil.example"}
    assert (await client.options("/separate-audio", headers={**other, **ASKED})).status_code == 400
    assert "access-control-allow-origin" not in (await client.get("/health", headers=other)).headers
