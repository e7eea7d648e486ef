"""The app alone: authentication, refusals, and its responses without backends."""

import asyncio
import gzip
import json
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from stemyard_api.app import create_app
from stemyard_contract.event_types import EventType
from tests.api.settings_for_tests import KEY, settings

ACCEPT = {"Accept": "text/html, application/json"}
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
        ("POST", f"/uploads/{TRACK}/complete"),
        ("GET", f"/job/{TRACK}"),
        ("GET", "/queue/info"),
        ("GET", "/nothing"),
    ],
)
async def test_requests_without_a_valid_key_are_401(
    anonymous: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    response = await anonymous.request(method, path, headers=headers, content=b"not json")
    check_problem(response, 401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_the_bearer_header_is_accepted(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get("/nothing", headers={"Authorization": f"Bearer {KEY}"})
    check_problem(response, 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/health", "/livez", "/openapi.json", "/docs"])
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
async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient, content: bytes, content_type: str) -> None:
    response = await client.post("/separate-audio", content=content, headers={"Content-Type": content_type})
    check_problem(response, 422, "INVALID_REQUEST")


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "once"}])
@pytest.mark.parametrize("depth", [400, 600, 900, 960, 990, 2000])
async def test_deeply_nested_metadata_is_not_a_500(client: httpx.AsyncClient, depth: int, key: dict[str, str]) -> None:
    content = b'{"search_query": "a", "metadata": {"a": %s%s}}' % (b"[" * depth, b"]" * depth)
    headers = {"Content-Type": "application/json", **key}
    response = await client.post("/separate-audio", content=content, headers=headers)
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


async def test_a_long_body_is_413_with_or_without_content_length(client: httpx.AsyncClient) -> None:
    check_problem(await client.post("/separate-audio", content=b"x" * 1_048_577), 413, "REQUEST_TOO_LARGE")

    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 65_536

    response = await client.post("/separate-audio", content=chunks(), headers={"Content-Type": "application/json"})
    check_problem(response, 413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("path", ["/separate-audio", "/batch"])
async def test_a_length_may_have_any_number_of_zeros(client: httpx.AsyncClient, path: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "0" * 5000 + "2"}
    check_problem(await client.post(path, content=b"{}", headers=headers), 422, "INVALID_REQUEST")
    headers["Content-Length"] = "9" * 5000
    check_problem(await client.post(path, content=b"{}", headers=headers), 413, "REQUEST_TOO_LARGE")


async def test_unknown_addresses_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/nothing"), 404, "NOT_FOUND")
    response = await client.get("/separate-audio")
    check_problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"
    response = await client.put(f"/job/{TRACK}")
    check_problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "DELETE, GET, HEAD"


@pytest.mark.parametrize("track", ["x", "..%2f..%2fsecrets", "a" * 200, "UPPER.case", "stemyard.", ".x"])
async def test_an_invalid_track_id_is_404(client: httpx.AsyncClient, track: str) -> None:
    assert (await client.get(f"/job/{track}")).status_code == 404


async def test_without_backends_reads_and_writes_are_503(client: httpx.AsyncClient) -> None:
    for response in (
        await client.get(f"/job/{TRACK}"),
        await client.get("/queue/info"),
        await client.post("/separate-audio", json={"search_query": "a"}),
    ):
        document = check_problem(response, 503, "UNAVAILABLE")
        assert document["retryable"]
        assert int(response.headers["retry-after"]) > 0


async def test_health_is_200_and_correct_without_backends(anonymous: httpx.AsyncClient) -> None:
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


async def test_valid_request_ids_are_returned(anonymous: httpx.AsyncClient) -> None:
    kept = await anonymous.get("/livez", headers={"X-Request-Id": "client-7"})
    assert kept.headers["x-request-id"] == "client-7"
    for indecent in ("a b", "x" * 65, '"'):
        made = await anonymous.get("/livez", headers={"X-Request-Id": indecent})
        assert made.headers["x-request-id"] not in {indecent, ""}


async def test_every_response_has_security_headers(client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
    for response in (await client.get("/nothing"), await anonymous.get("/health"), await anonymous.post("/uploads")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "strict-transport-security" not in response.headers
    secure = await client.get("https://stemyard/livez")
    assert secure.headers["strict-transport-security"].startswith("max-age=")


async def test_cors_is_disabled_by_default(client: httpx.AsyncClient) -> None:
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
async def test_values_outside_json_are_refused(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post("/separate-audio", content=content, headers={"Content-Type": "application/json"})
    check_problem(response, 422, "INVALID_REQUEST")


async def test_an_unexpected_error_is_a_500_without_details(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.state.services = None
    response = await client.get(f"/job/{TRACK}")
    document = check_problem(response, 500, "INTERNAL")
    assert "NoneType" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    logged = [record for record in caplog.records if record.message == "unexpected error"]
    assert [vars(record)["request_id"] for record in logged] == [document["request_id"]]


async def test_access_logs_contain_neither_keys_nor_query_strings(
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
        "/job/{track_id}/share",
        "/job/{track_id}/stems.zip",
        "/share/{token}",
        "/share/{token}/stems.zip",
        "/job/{track_id}/webhooks",
        "/job/{track_id}/webhooks/redeliver",
        "/jobs",
        "/queue/info",
        "/uploads",
        "/uploads/multipart",
        "/uploads/{upload_id}",
        "/uploads/{upload_id}/parts",
        "/uploads/{upload_id}/complete",
        "/capabilities",
        "/usage",
        "/admin/overview",
        "/admin/job/{track_id}/priority",
        "/webhooks/dead-letters",
        "/webhooks/test",
        "/webhooks",
        "/webhooks/{webhook_id}",
        "/webhooks/{webhook_id}/rotate-secret",
        "/webhooks/{webhook_id}/test",
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


@pytest.mark.parametrize(
    "content",
    [
        b'{"search_query": "a", "search_query": "b"}',
        b'{"search_query": "a", "metadata": {"a": 1, "a": 2}}',
    ],
)
async def test_repeated_names_are_refused(client: httpx.AsyncClient, content: bytes) -> None:
    for path, body in (
        ("/separate-audio", content),
        ("/batch", b'{"requests": [%s]}' % content),
        ("/uploads", b'{"filename": "a", "filename": "a", "size": 1}'),
        ("/webhooks/test", b'{"url": "https://a.example", "url": "https://b.example"}'),
    ):
        response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        document = check_problem(response, 422, "INVALID_REQUEST")
        assert "every name once" in document["error"]


@pytest.mark.parametrize("path", ["/separate-audio", "/batch", "/uploads", "/webhooks/test"])
async def test_encoded_bodies_are_415(client: httpx.AsyncClient, path: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await client.post(path, content=gzip.compress(b'{"search_query": "a"}'), headers=headers)
    check_problem(response, 415, "UNSUPPORTED_ENCODING")
    assert response.headers["accept-encoding"] == "identity"


async def test_head_is_get_without_the_body(client: httpx.AsyncClient, app: FastAPI) -> None:
    paths = [path for path, methods in app.openapi()["paths"].items() if "get" in methods]
    assert len(paths) > 10
    for path in ["/livez", "/readyz", "/openapi.json", "/docs", "/", "/nothing", *paths]:
        url = path.replace("{track_id}", TRACK)
        got, head = await client.get(url, headers=ACCEPT), await client.head(url, headers=ACCEPT)
        assert (head.status_code, head.content) == (got.status_code, b""), url
        assert head.headers["content-type"] == got.headers["content-type"], url
    refused = await client.head("/separate-audio")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


async def test_methods_that_a_path_does_not_take_are_405(client: httpx.AsyncClient, app: FastAPI) -> None:
    documented = {path: {method.upper() for method in found} for path, found in app.openapi()["paths"].items()}
    assert documented["/uploads/multipart"] == {"POST"}  # a path that would match `/uploads/{upload_id}`
    for path, methods in documented.items():
        allowed = methods | ({"HEAD"} if "GET" in methods else set())
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - allowed:
            refused = await client.request(method, re.sub(r"{\w+}", "a", path))
            where = f"{method} {path}"
            assert (refused.status_code, refused.headers.get("allow")) == (405, ", ".join(sorted(allowed))), where
            if method != "HEAD":
                check_problem(refused, 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("key_id", ["", "-a", "a b", "ä", "a" * 64, "a\n"])
async def test_the_key_of_a_webhook_test_is_a_key_id(client: httpx.AsyncClient, key_id: str) -> None:
    response = await client.post("/webhooks/test", json={"url": "https://consumer.example.org/", "key": key_id})
    document = check_problem(response, 422, "INVALID_REQUEST")
    assert [error["field"] for error in document["errors"]] == ["key"]


NO_STORE = {"size": 1, "filename": "a.mp3"}


@pytest.mark.parametrize(
    ("path", "body", "lacking"),
    [
        ("/webhooks", {"url": "https://consumer.example.org/"}, "WEBHOOK_MASTER_SECRET"),
        ("/uploads", NO_STORE, "object store"),
        ("/uploads/multipart", NO_STORE, "object store"),
    ],
)
async def test_what_the_deployment_does_not_offer_is_501(
    nowhere: str, path: str, body: dict[str, Any], lacking: str
) -> None:
    app = create_app(settings())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://stemyard", headers={"X-API-Key": KEY}) as client,
    ):
        document = check_problem(await client.post(path, json=body), 501, "NOT_CONFIGURED")
    assert lacking in document["error"]
    assert document["retryable"] is False
