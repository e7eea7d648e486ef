"""Uploads in parts to a real S3 server: interrupted, continued, checked, completed, aborted, bounded."""

import contextlib
import hashlib
import json
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stemyard_contract.identity import multipart_key, upload_key
from tests.api.conftest import kubeconfig_to_nowhere
from tests.api.ratelimit.test_limiter import environment
from tests.support.api_world import INSTALL, keys_file
from tests.support.servers import Api, ObjectStore, api_process, object_store, valkey

MIB: Final = 1024 * 1024
PART: Final = 16 * MIB
SIZE: Final = 110 * MIB
"""Above the 100 MiB that some proxies and stores take in one request."""
LIMIT: Final = 120
FILE: Final = random.Random(18).randbytes(SIZE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as found:
        yield found


@pytest.fixture(scope="module")
def api(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API without a cluster: uploads need none."""
    folder = tmp_path_factory.mktemp("api")
    with valkey(folder).running() as cache:
        settings = {
            **environment(cache, RATE_LIMIT_SUBMITS_PER_MINUTE="0"),
            **store.environment,
            "STEMYARD_INSTALL_ID": INSTALL,
            "API_KEYS_FILE": str(limited_keys(folder)),
            "MAX_FILE_SIZE_MB": str(LIMIT),
            "KUBECONFIG": str(kubeconfig_to_nowhere(folder)[1]),
        }
        with api_process(folder, settings) as found:
            yield found


def limited_keys(folder: Path) -> Path:
    """Keys, one of which may upload 120 MiB a day."""
    path = keys_file(folder)
    digest = hashlib.sha256(b"limited-key").hexdigest()
    entry = f"- {{id: limited, sha256: {digest}, scopes: [submit], limits: {{upload_mb_per_day: 120}}}}\n"
    path.write_text(path.read_text() + entry)
    return path


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    with api.client() as opened:
        yield opened


@contextlib.contextmanager
def client_of(api: Api, key_id: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, headers={"X-API-Key": f"{key_id}-key"}, timeout=30.0) as opened:
        yield opened


def begin(client: httpx.Client, size: int = SIZE) -> dict[str, Any]:
    described = {"filename": "concert.flac", "size": size, "content_type": "audio/flac"}
    response = client.post("/uploads/multipart", json=described)
    assert response.status_code == 200, response.text
    return dict(response.json())


def content(number: int, size: int = SIZE) -> bytes:
    return FILE[:size][(number - 1) * PART : number * PART]


def asked(number: int, size: int = SIZE) -> dict[str, Any]:
    return {"number": number, "sha256": hashlib.sha256(content(number, size)).hexdigest()}


def links(client: httpx.Client, upload_id: str, *numbers: int, size: int = SIZE) -> list[dict[str, Any]]:
    response = client.post(f"/uploads/{upload_id}/parts", json={"parts": [asked(number, size) for number in numbers]})
    assert response.status_code == 200, response.text
    return list(response.json()["parts"])


def send(link: dict[str, Any], body: bytes) -> httpx.Response:
    return httpx.put(link["url"], content=body, headers=link["headers"], timeout=60)


def received(client: httpx.Client, upload_id: str) -> list[int]:
    state = client.get(f"/uploads/{upload_id}").json()
    assert state["complete"] is False
    return [part["number"] for part in state["received"]]


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def stored(store: ObjectStore, upload_id: str, owner: str = "default") -> dict[str, Any] | None:
    """The object of a completed upload."""
    opened = store.client()
    try:
        found = opened.get_object(Bucket=store.bucket, Key=upload_key(INSTALL, owner, upload_id))
        return {**found, "Body": found["Body"].read()}
    except opened.exceptions.NoSuchKey:
        return None
    finally:
        opened.close()


def in_progress(store: ObjectStore) -> list[str]:
    opened = store.client()
    found = [upload["Key"] for upload in opened.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])]
    opened.close()
    return found


def test_a_large_file_is_sent_in_parts_and_continued(store: ObjectStore, client: httpx.Client) -> None:
    slot = begin(client)
    upload_id = slot["upload_id"]
    assert (slot["part_bytes"], slot["parts"]) == (PART, 7)
    assert [send(link, content(link["number"])).status_code for link in links(client, upload_id, 3, 1)] == [200, 200]
    break_off(links(client, upload_id, 2)[0], content(2))
    state = client.get(f"/uploads/{upload_id}").json()
    assert state["received"] == [{**asked(number), "size": PART} for number in (1, 3)], "to be continued from here"
    response = client.post(f"/uploads/{upload_id}/complete")
    assert code(response) == (409, "UPLOAD_MISSING")
    assert "5 of 7 parts have not arrived: 2, 4, 5, 6, 7." in response.json()["detail"]
    rest = links(client, upload_id, 7, 6, 5, 4, 2)
    assert {send(link, content(link["number"])).status_code for link in rest} == {200}
    response = client.post(f"/uploads/{upload_id}/complete")
    assert (response.status_code, response.json()) == (200, {"upload_id": upload_id, "size": SIZE})
    file = stored(store, upload_id)
    assert file is not None
    assert file["Body"] == FILE
    assert (file["ContentType"], file["ContentDisposition"]) == ("audio/flac", "attachment")
    assert in_progress(store) == []


def break_off(link: dict[str, Any], body: bytes) -> None:
    """Send half of a part, then close the connection."""
    parts = urlsplit(link["url"])
    headers = "".join(f"{name}: {value}\r\n" for name, value in link["headers"].items())
    with socket.create_connection((str(parts.hostname), int(parts.port or 80))) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{headers}\r\n"
        connection.sendall(head.encode() + body[: len(body) // 2])


def test_what_was_completed_is_completed_again_with_the_same_answer(client: httpx.Client) -> None:
    """As after a response that was lost."""
    upload_id = begin(client, 1000)["upload_id"]
    send(links(client, upload_id, 1, size=1000)[0], content(1, 1000))
    answers = [client.post(f"/uploads/{upload_id}/complete") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"upload_id": upload_id, "size": 1000}] * 2
    for written in (upload_id, upload_id.upper()):
        assert client.get(f"/uploads/{written}").json() == {"upload_id": upload_id, "complete": True, "size": 1000}
    assert code(client.post(f"/uploads/{upload_id}/parts", json={"parts": [asked(1)]})) == (404, "UPLOAD_NOT_FOUND")
    assert code(client.delete(f"/uploads/{upload_id}")) == (404, "UPLOAD_NOT_FOUND")


def complete(client: httpx.Client, upload_id: str) -> dict[str, Any]:
    """Complete an upload, again while its parts are being joined."""
    while (response := client.post(f"/uploads/{upload_id}/complete")).status_code == 409:
        assert "being joined" in response.json()["detail"]
        assert response.json()["retryable"]
    return dict(response.json())


def complete_at_last(client: httpx.Client, upload_id: str) -> dict[str, Any]:
    """Complete an upload; a busy store is tried again, as the answer asks."""
    answer = complete(client, upload_id)
    for _ in range(5):
        if answer.get("code") != "UNAVAILABLE":
            break
        time.sleep(1)
        answer = complete(client, upload_id)
    return answer


def test_an_upload_that_is_completed_by_several_at_once_is_complete(store: ObjectStore, client: httpx.Client) -> None:
    ids = [begin(client, 40 * MIB)["upload_id"] for _ in range(4)]
    for upload_id in ids:
        for link in links(client, upload_id, 1, 2, 3, size=40 * MIB):
            send(link, content(link["number"], 40 * MIB))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(complete_at_last, client), [each for each in ids for _ in range(4)]))
    assert answers == [{"upload_id": each, "size": 40 * MIB} for each in ids for _ in range(4)]
    for upload_id in ids:
        file = stored(store, upload_id)
        assert file is not None
        assert file["Body"] == FILE[: 40 * MIB]


def test_a_link_is_for_the_bytes_of_one_part(store: ObjectStore, client: httpx.Client) -> None:
    upload_id = begin(client)["upload_id"]
    first, second = links(client, upload_id, 1, 7)
    query = parse_qs(urlsplit(first["url"]).query)
    assert query["X-Amz-SignedHeaders"] == ["content-length;host;x-amz-checksum-sha256"]
    assert query["X-Amz-Expires"] == ["900"]
    wrong = content(2)
    refused = send(first, wrong)
    assert refused.status_code == 400
    assert "BadDigest" in refused.text
    other = {
        **first,
        "headers": {**first["headers"], "x-amz-checksum-sha256": second["headers"]["x-amz-checksum-sha256"]},
    }
    assert send(other, content(1)).status_code == 403
    assert httpx.put(first["url"], content=content(1)).status_code == 403, "the checksum is required"
    for body in (content(1) + b"!", content(1)[:-1], content(7)):
        resized = {**first, "headers": {**first["headers"], "Content-Length": str(len(body))}}
        assert send(resized, body).status_code == 403
    elsewhere = {**first, "url": first["url"].replace("partNumber=1&", "partNumber=2&")}
    assert elsewhere["url"] != first["url"]
    assert send(elsewhere, content(1)).status_code == 403
    assert received(client, upload_id) == []
    assert second["headers"]["Content-Length"] == str(SIZE - 6 * PART)


def test_a_part_may_be_sent_again_until_the_upload_is_completed(store: ObjectStore, client: httpx.Client) -> None:
    upload_id = begin(client, 1000)["upload_id"]
    other = bytes(1000)
    link = client.post(
        f"/uploads/{upload_id}/parts", json={"parts": [{"number": 1, "sha256": hashlib.sha256(other).hexdigest()}]}
    ).json()["parts"][0]
    assert send(link, other).status_code == 200
    again = links(client, upload_id, 1, size=1000)[0]
    assert send(again, content(1, 1000)).status_code == 200
    assert client.post(f"/uploads/{upload_id}/complete").status_code == 200
    assert send(link, other).status_code == 404
    file = stored(store, upload_id)
    assert file is not None
    assert file["Body"] == content(1, 1000)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([asked(8)], "parts[0].number"),
        ([asked(1), asked(10_000)], "parts[1].number"),
        ([{**asked(1), "number": 0}], "parts.0.number"),
        ([{**asked(1), "number": 10_001}], "parts.0.number"),
        ([{"number": 1}], "parts.0.sha256"),
        ([{"number": 1, "sha256": "AB" * 32}], "parts.0.sha256"),
        ([], "parts"),
        ([asked(1)] * 101, "parts"),
    ],
)
def test_parts_that_the_upload_does_not_have_get_no_link(client: httpx.Client, parts: list[Any], field: str) -> None:
    response = client.post(f"/uploads/{begin(client)['upload_id']}/parts", json={"parts": parts})
    assert code(response) == (422, "INVALID_REQUEST")
    assert [error["field"].replace("[", ".").replace("]", "") for error in response.json()["errors"]] == [
        field.replace("[", ".").replace("]", "")
    ]


def test_nothing_above_the_limit_is_begun(store: ObjectStore, client: httpx.Client) -> None:
    before = in_progress(store)
    described = {"filename": "concert.flac", "size": LIMIT * MIB + 1}
    assert code(client.post("/uploads/multipart", json=described)) == (413, "REQUEST_TOO_LARGE")
    assert in_progress(store) == before


@pytest.mark.parametrize("path", ["/uploads", "/uploads/multipart"])
@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "audio/", "audio/mpeg; x=y"])
def test_only_audio_video_and_bytes_are_taken(client: httpx.Client, path: str, kind: str) -> None:
    response = client.post(path, json={"filename": "song.mp3", "size": 10, "content_type": kind})
    assert code(response) == (422, "INVALID_REQUEST")
    assert response.json()["errors"][0]["field"] == "content_type"


def test_an_upload_is_continued_by_its_own_key_only(api: Api, client: httpx.Client) -> None:
    with client_of(api, "team-a") as own, client_of(api, "team-b") as other, client_of(api, "reader") as reader:
        upload_id = begin(own, 1000)["upload_id"]
        send(links(own, upload_id, 1, size=1000)[0], content(1, 1000))
        for method, path, body in (
            ("POST", f"/uploads/{upload_id}/parts", {"parts": [asked(1)]}),
            ("GET", f"/uploads/{upload_id}", None),
            ("POST", f"/uploads/{upload_id}/complete", None),
            ("DELETE", f"/uploads/{upload_id}", None),
        ):
            for stranger in (other, client):
                assert code(stranger.request(method, path, json=body)) == (404, "UPLOAD_NOT_FOUND")
            assert code(reader.request(method, path, json=body)) == (403, "FORBIDDEN")
        assert own.post(f"/uploads/{upload_id}/complete").status_code == 200


@pytest.mark.parametrize("upload_id", ["x", "7a1e0f0e-8d0c-8b9f-9a55-0d7c6f1b2a34", "%2e%2e%2fowner.json"])
def test_an_unknown_upload_is_not_found(client: httpx.Client, upload_id: str) -> None:
    assert client.get(f"/uploads/{upload_id}").status_code == 404
    assert client.post(f"/uploads/{upload_id}/complete").status_code == 404


def test_an_aborted_upload_leaves_nothing(store: ObjectStore, client: httpx.Client) -> None:
    before = in_progress(store)
    upload_id = begin(client, 1000)["upload_id"]
    link = links(client, upload_id, 1, size=1000)[0]
    send(link, content(1, 1000))
    assert in_progress(store) != before
    assert client.delete(f"/uploads/{upload_id}").status_code == 204
    assert in_progress(store) == before
    assert send(link, content(1, 1000)).status_code == 404
    assert code(client.delete(f"/uploads/{upload_id}")) == (404, "UPLOAD_NOT_FOUND")
    assert code(client.post(f"/uploads/{upload_id}/complete")) == (404, "UPLOAD_NOT_FOUND")
    opened = store.client()
    prefix = multipart_key(INSTALL, "default", upload_id).rpartition("/")[0]
    assert "Contents" not in opened.list_objects_v2(Bucket=store.bucket, Prefix=prefix)
    opened.close()


def test_an_upload_ends_with_its_day(store: ObjectStore, client: httpx.Client) -> None:
    """Its record is made older, as if a day had passed."""
    upload_id = begin(client, 1000)["upload_id"]
    send(links(client, upload_id, 1, size=1000)[0], content(1, 1000))
    opened, key = store.client(), multipart_key(INSTALL, "default", upload_id)
    record = json.loads(opened.get_object(Bucket=store.bucket, Key=key)["Body"].read())
    assert record["expires_at"] - time.time() == pytest.approx(24 * 3600, abs=600)
    expired = json.dumps({**record, "expires_at": time.time() - 1})
    opened.put_object(Bucket=store.bucket, Key=key, Body=expired.encode())
    opened.close()
    assert code(client.post(f"/uploads/{upload_id}/complete")) == (404, "UPLOAD_NOT_FOUND")
    assert code(client.post(f"/uploads/{upload_id}/parts", json={"parts": [asked(1)]})) == (404, "UPLOAD_NOT_FOUND")
    assert client.delete(f"/uploads/{upload_id}").status_code == 204


def test_an_upload_in_parts_counts_as_announced(api: Api, store: ObjectStore) -> None:
    with client_of(api, "limited") as limited:
        begin(limited, 100 * MIB)
        before = in_progress(store)
        described = {"filename": "concert.flac", "size": 21 * MIB}
        response = limited.post("/uploads/multipart", json=described)
        assert code(response) == (429, "QUOTA_EXCEEDED")
        assert in_progress(store) == before
        assert limited.post("/uploads/multipart", json={**described, "size": 20 * MIB}).status_code == 200


def test_a_single_put_says_whether_it_has_arrived(client: httpx.Client) -> None:
    slot = client.post("/uploads", json={"filename": "song.mp3", "size": 5, "content_type": "audio/mpeg"}).json()
    assert code(client.get(f"/uploads/{slot['upload_id']}")) == (404, "UPLOAD_NOT_FOUND")
    assert httpx.put(slot["url"], content=b"bytes", headers=slot["headers"]).status_code == 200
    state = client.get(f"/uploads/{slot['upload_id']}").json()
    assert state == {"upload_id": slot["upload_id"], "complete": True, "size": 5}
