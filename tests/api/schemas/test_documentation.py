"""The page that shows the OpenAPI document."""

import json
import re

import httpx
import pytest
from fastapi import FastAPI

from stemyard_api.schemas.documentation import documentation_page


async def test_the_page_shows_every_operation_and_schema(anonymous: httpx.AsyncClient, app: FastAPI) -> None:
    response = await anonymous.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    document = app.openapi()
    named = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    named |= {methods["post"]["operationId"] for methods in document["webhooks"].values()}
    named |= {f"schema-{name}" for name in document["components"]["schemas"]} | {"schemas"}
    ids = re.findall(r' id="([^"]+)"', response.text)
    assert sorted(ids) == sorted(named)
    assert set(re.findall(r'href="#([^"]+)"', response.text)) <= named


async def test_the_page_loads_nothing_and_runs_nothing(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get("/docs")
    assert re.findall(r"<(?:script|link|img|iframe|form)\b| src=| style=| on\w+=", response.text) == []
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


async def test_what_the_document_says_is_not_markup(app: FastAPI) -> None:
    document = {**app.openapi(), "info": {"title": "<b>", "version": "<i>", "description": "`<u>` & <script>"}}
    page = documentation_page(document)
    assert "<code>&lt;u&gt;</code> &amp; &lt;script&gt;" in page
    assert not re.search(r"<(b|i|u|script)>", page)


async def test_the_document_is_written_once(
    anonymous: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (await anonymous.get("/openapi.json")).json()
    assert {**whole, "servers": None} == {**json.loads(json.dumps(app.openapi())), "servers": None}
    monkeypatch.setattr(app, "openapi", lambda: pytest.fail("it is written again"))
    again = (await anonymous.get("/openapi.json", headers={"Host": "another.example"})).json()
    assert again == {**whole, "servers": [{"url": "http://another.example"}]}


@pytest.mark.parametrize("host", ["stemyard.example:8443", "127.0.0.1", "[::1", 'a"b', "é"])
async def test_the_server_of_the_document_is_the_one_asked(anonymous: httpx.AsyncClient, host: str) -> None:
    response = await anonymous.get("/openapi.json", headers={b"Host": host.encode()})
    assert response.status_code == 200
    assert len(response.json()["servers"]) == 1
    if host.isascii() and "[" not in host and '"' not in host:
        assert response.json()["servers"] == [{"url": f"http://{host}"}]
