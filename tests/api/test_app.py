"""The app alone: who gets in, what is refused and how, and what it says when nothing behind it answers."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from stemyard_contract.event_types import EventType
from tests.api.settings_for_tests import KEY

TRACK = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["error"] == document["detail"]
    assert isinstance(document["retryable"], bool)
    assert document["request_id"] == response.headers["x-request-id"]
    return dict(document)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Basic x"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/separate-audio"),
        ("POST", "/uploads"),
        ("GET", f"/job/{TRACK}"),
        ("GET", "/queue/info"),
        ("GET", "/nothing"),
    ],
)
async def test_nobody_enters_without_a_key(
    anonymous: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    response = await anonymous.request(method, path, headers=headers, content=b"not json")
    check_problem(response, 401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_the_bearer_header_opens_too(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get("/nothing", headers={"Authorization": f"Bearer {KEY}"})
    check_problem(response, 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/health", "/livez", "/openapi.json"])
async def test_some_paths_need_no_key(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"search_query": ""}, "search_query"),
        ({"search_query": "x" * 501}, "search_query"),
        ({"search_query": "a\u0000b"}, "search_query"),
        ({"search_query": 7}, "search_query"),
        ({}, "search_query"),
        ({"search_query": "a", "upload_id": "b"}, "upload_id"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"search_query": "a", "stems": ["kazoo"]}, "stems.0"),
        ({"search_query": "a", "metadata": {"a": "x" * 1024}}, "metadata"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_bad_input_is_422_with_its_field(client: httpx.AsyncClient, body: Any, field: str) -> None:
    document = check_problem(await client.post("/separate-audio", json=body), 422, "INVALID_REQUEST")
    assert [item["field"] for item in document["errors"]] == [field]
    assert field in document["error"]
    assert document["errors"][0]["message"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b'{"search_query": "\\ud83d"}', "application/json"),
        (b'{"search_query": "\xff"}', "application/json"),
        (b"search_query=a", "application/x-www-form-urlencoded"),
        (b"[" * 100_000, "application/json"),
    ],
)
async def test_what_is_not_json_is_refused(client: httpx.AsyncClient, content: bytes, content_type: str) -> None:
    response = await client.post("/separate-audio", content=content, headers={"Content-Type": content_type})
    check_problem(response, 422, "INVALID_REQUEST")


@pytest.mark.parametrize("depth", [400, 600, 900, 960, 990, 2000])
async def test_metadata_of_any_depth_is_no_500(client: httpx.AsyncClient, depth: int) -> None:
    content = b'{"search_query": "a", "metadata": {"a": %s%s}}' % (b"[" * depth, b"]" * depth)
    response = await client.post("/separate-audio", content=content, headers={"Content-Type": "application/json"})
    # with nothing behind it, an accepted request is 503
    assert response.status_code == (503 if depth == 400 else 422), response.text


async def test_an_unknown_model_is_422(client: httpx.AsyncClient) -> None:
    response = await client.post("/separate-audio", json={"search_query": "a", "model": "demucs"})
    document = check_problem(response, 422, "MODEL_NOT_ENABLED")
    assert "spleeter-2stems" in document["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filename": "a.mp3"}, "size"),
        ({"filename": "a.mp3", "size": 0}, "size"),
        ({"filename": "", "size": 1}, "filename"),
        ({"filename": "a.mp3", "size": 1, "content_type": "audio/mpeg\r\nX: y"}, "content_type"),
    ],
)
async def test_bad_uploads_are_422(client: httpx.AsyncClient, body: Any, field: str) -> None:
    document = check_problem(await client.post("/uploads", json=body), 422, "INVALID_REQUEST")
    assert [item["field"] for item in document["errors"]] == [field]


async def test_an_upload_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    at_limit = {"filename": "a.mp3", "size": 50 * 1024 * 1024}
    assert (await client.post("/uploads", json=at_limit)).status_code == 200
    response = await client.post("/uploads", json={**at_limit, "size": at_limit["size"] + 1})  # type: ignore[operator]
    assert "50 MiB" in check_problem(response, 413, "REQUEST_TOO_LARGE")["error"]


async def test_another_keys_upload_is_404(client: httpx.AsyncClient) -> None:
    response = await client.post("/separate-audio", json={"upload_id": TRACK})
    check_problem(response, 404, "UPLOAD_NOT_FOUND")


async def test_a_long_body_is_413_announced_or_not(client: httpx.AsyncClient) -> None:
    check_problem(await client.post("/separate-audio", content=b"x" * 1_048_577), 413, "REQUEST_TOO_LARGE")

    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 65_536

    response = await client.post("/separate-audio", content=chunks(), headers={"Content-Type": "application/json"})
    check_problem(response, 413, "REQUEST_TOO_LARGE")


async def test_unknown_addresses_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/nothing"), 404, "NOT_FOUND")
    response = await client.get("/separate-audio")
    check_problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"
    response = await client.put(f"/job/{TRACK}")
    check_problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "DELETE, GET"


@pytest.mark.parametrize("track", ["x", "..%2f..%2fsecrets", "a" * 200, "UPPER.case", "stemyard.", ".x"])
async def test_what_cannot_be_a_track_id_is_404(client: httpx.AsyncClient, track: str) -> None:
    assert (await client.get(f"/job/{track}")).status_code == 404


async def test_with_nothing_behind_it_every_read_and_write_is_503(client: httpx.AsyncClient) -> None:
    for response in (
        await client.get(f"/job/{TRACK}"),
        await client.get("/queue/info"),
        await client.post("/separate-audio", json={"search_query": "a"}),
    ):
        document = check_problem(response, 503, "UNAVAILABLE")
        assert document["retryable"]
        assert int(response.headers["retry-after"]) > 0


async def test_health_is_200_and_truthful_with_nothing_behind_it(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get("/health")
    answer = response.json()
    assert (response.status_code, answer["status"]) == (200, "degraded")
    assert answer["services"] == {
        "storage_operational": False,
        "storage_configured": True,
        "rate_limiting_operational": False,
        "rate_limiting_configured": True,
        "redis_operational": False,
        "redis_configured": True,
        "kubernetes_operational": False,
    }
    assert (await anonymous.get("/readyz")).status_code == 503


async def test_request_ids_come_back_when_they_are_decent(anonymous: httpx.AsyncClient) -> None:
    kept = await anonymous.get("/livez", headers={"X-Request-Id": "client-7"})
    assert kept.headers["x-request-id"] == "client-7"
    for indecent in ("a b", "x" * 65, '"'):
        made = await anonymous.get("/livez", headers={"X-Request-Id": indecent})
        assert made.headers["x-request-id"] not in {indecent, ""}


async def test_every_answer_has_security_headers(client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
    for response in (await client.get("/nothing"), await anonymous.get("/health"), await anonymous.post("/uploads")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "strict-transport-security" not in response.headers
    secure = await client.get("https://stemyard/livez")
    assert secure.headers["strict-transport-security"].startswith("max-age=")


async def test_cors_is_off(client: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for response in (
        await client.options("/separate-audio", headers=asked),
        await client.get("/livez", headers=asked),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "content",
    [b'{"search_query": NaN}', b'{"search_query": "a", "metadata": {"a": Infinity}}', b'{"bitrate": -Infinity}'],
)
async def test_what_json_does_not_know_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post("/separate-audio", content=content, headers={"Content-Type": "application/json"})
    check_problem(response, 422, "INVALID_REQUEST")


async def test_of_two_fields_with_one_name_the_last_counts(client: httpx.AsyncClient) -> None:
    content = b'{"search_query": "a", "search_query": ""}'
    response = await client.post("/separate-audio", content=content, headers={"Content-Type": "application/json"})
    assert check_problem(response, 422, "INVALID_REQUEST")["errors"][0]["field"] == "search_query"


async def test_what_nobody_expected_is_a_500_that_tells_nothing(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.state.services = None
    response = await client.get(f"/job/{TRACK}")
    document = check_problem(response, 500, "INTERNAL")
    assert "NoneType" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    logged = [record for record in caplog.records if record.message == "unexpected error"]
    assert [vars(record)["request_id"] for record in logged] == [document["request_id"]]


async def test_access_logs_hold_neither_keys_nor_query_strings(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"/job/{TRACK}x", '/quo"te\\', "/\x1bé\n"]
    for path in paths:
        await client.get(quote(path) + "?token=topsecret")
    await asyncio.sleep(0)
    output = capsys.readouterr().out
    lines = [json.loads(line) for line in output.splitlines()]
    found = [line for line in lines if line.get("logger") == "stemyard_api.access"]
    assert [(line["path"], line["status"], line["key_id"]) for line in found] == [
        (path, 404, "default") for path in paths
    ]
    assert all(line["request_id"] for line in found)
    assert "topsecret" not in output
    assert KEY not in output


async def test_openapi_names_every_endpoint_with_examples(anonymous: httpx.AsyncClient) -> None:
    document = (await anonymous.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/separate-audio",
        "/batch",
        "/job/{track_id}",
        "/job/{track_id}/wait",
        "/job/{track_id}/events",
        "/job/{track_id}/candidates",
        "/job/{track_id}/cancel",
        "/job/{track_id}/retry",
        "/job/{track_id}/webhooks",
        "/job/{track_id}/webhooks/redeliver",
        "/jobs",
        "/queue/info",
        "/uploads",
        "/capabilities",
        "/usage",
        "/webhooks/dead-letters",
        "/webhooks/test",
        "/keys/{key_id}/data",
        "/health",
    }
    post = document["paths"]["/separate-audio"]["post"]
    assert post["security"] == [{"APIKeyHeader": []}, {"Bearer": []}]
    assert post["responses"]["202"]["content"]["application/json"]["example"]["status"] == "processing"
    problem = post["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/Problem"}
    assert {"code", "retryable", "error"} <= set(document["components"]["schemas"]["Problem"]["required"])
    assert set(document["webhooks"]) == set(EventType)
    told = document["webhooks"]["separation.completed"]["post"]
    assert {parameter["name"] for parameter in told["parameters"]} >= {"X-Webhook-Signature", "webhook-signature"}
    assert document["paths"]["/job/{track_id}"]["get"]["responses"]["429"]["headers"]["Retry-After"]
    assert set(post["responses"]["202"]["headers"]) >= {"Location", "Cache-Status", "RateLimit", "X-Request-Id"}
    references = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    assert {reference.partition('"')[0] for reference in references} <= set(document["components"]["schemas"])
