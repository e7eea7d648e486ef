"""Uploads and links end to end: files go directly to a real S3 server, only as signed and only once."""

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.identity import upload_key
from tests.support.api_world import INSTALL, World, published, world

BYTES = b"ID3" + bytes(range(256)) * 8


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture
def client(running: World) -> Iterator[httpx.Client]:
    with running.apis[0].client() as opened:
        yield opened


def slot_for(client: httpx.Client, size: int = len(BYTES)) -> dict[str, Any]:
    described = {"filename": "song.mp3", "size": size, "content_type": "audio/mpeg"}
    response = client.post("/uploads", json=described)
    assert response.status_code == 200, response.text
    return dict(response.json())


def put(slot: dict[str, Any], content: bytes = BYTES, content_type: str = "audio/mpeg") -> httpx.Response:
    headers = {**slot["headers"], "Content-Length": str(len(content)), "Content-Type": content_type}
    return httpx.put(slot["url"], content=content, headers=headers)


def stored(running: World, upload_id: str) -> bytes:
    client = running.store.client()
    found = client.get_object(Bucket=running.store.bucket, Key=upload_key(INSTALL, "default", upload_id))
    content = found["Body"].read()
    client.close()
    assert (found["ContentType"], found["ContentDisposition"]) == ("audio/mpeg", "attachment"), "never a page"
    return content


def test_the_link_signs_length_type_and_absence(client: httpx.Client) -> None:
    slot = slot_for(client)
    query = parse_qs(urlsplit(slot["url"]).query)
    assert query["X-Amz-SignedHeaders"] == ["content-disposition;content-length;content-type;host;if-none-match"]
    assert query["X-Amz-Expires"] == ["900"]
    assert slot["headers"] == {
        "Content-Length": str(len(BYTES)),
        "Content-Type": "audio/mpeg",
        "Content-Disposition": "attachment",
        "If-None-Match": "*",
    }


def test_an_upload_becomes_a_separation(running: World, client: httpx.Client) -> None:
    slot = slot_for(client)
    response = client.post("/separate-audio", json={"upload_id": slot["upload_id"]})
    assert (response.status_code, response.json()["code"]) == (409, "UPLOAD_MISSING")
    assert put(slot).status_code == 200
    assert stored(running, slot["upload_id"]) == BYTES
    response = client.post("/separate-audio", json={"upload_id": slot["upload_id"]})
    assert response.status_code == 202, response.text
    spec = running.resource(response.json()["track_id"])["spec"]
    assert spec["source"] == {"upload": {"id": slot["upload_id"], "owner": "default", "name": "song"}}
    assert client.get(f"/job/{response.json()['track_id']}").json()["query"] == "song"
    again = client.post("/separate-audio", json={"upload_id": slot["upload_id"].upper()})
    assert (again.status_code, again.json()["track_id"]) == (202, response.json()["track_id"])


def test_an_upload_in_parts_becomes_a_separation(running: World, client: httpx.Client) -> None:
    described = {"filename": "song.mp3", "size": len(BYTES), "content_type": "audio/mpeg"}
    upload_id = client.post("/uploads/multipart", json=described).json()["upload_id"]
    parts = {"parts": [{"number": 1, "sha256": hashlib.sha256(BYTES).hexdigest()}]}
    [link] = client.post(f"/uploads/{upload_id}/parts", json=parts).json()["parts"]
    assert httpx.put(link["url"], content=BYTES, headers=link["headers"]).status_code == 200
    response = client.post("/separate-audio", json={"upload_id": upload_id})
    assert (response.status_code, response.json()["code"]) == (409, "UPLOAD_MISSING"), "not complete yet"
    assert client.post(f"/uploads/{upload_id}/complete").status_code == 200
    assert stored(running, upload_id) == BYTES
    response = client.post("/separate-audio", json={"upload_id": upload_id})
    assert response.status_code == 202, response.text
    spec = running.resource(response.json()["track_id"])["spec"]
    assert spec["source"] == {"upload": {"id": upload_id, "owner": "default", "name": "song"}}


def test_erasing_a_key_drops_its_uploads_in_parts(running: World) -> None:
    with running.client("team-a") as client:
        described = {"filename": "song.mp3", "size": len(BYTES)}
        upload_id = client.post("/uploads/multipart", json=described).json()["upload_id"]
        parts = {"parts": [{"number": 1, "sha256": hashlib.sha256(BYTES).hexdigest()}]}
        [link] = client.post(f"/uploads/{upload_id}/parts", json=parts).json()["parts"]
        assert httpx.put(link["url"], content=BYTES, headers=link["headers"]).status_code == 200
        assert client.delete("/keys/team-a/data").status_code == 200
        assert client.get(f"/uploads/{upload_id}").status_code == 404
        assert httpx.put(link["url"], content=BYTES, headers=link["headers"]).status_code == 404


@pytest.mark.parametrize("content", [BYTES + b"!", BYTES[:-1]])
def test_an_upload_of_another_length_is_refused(running: World, client: httpx.Client, content: bytes) -> None:
    slot = slot_for(client)
    assert put(slot, content).status_code == 403
    response = client.post("/separate-audio", json={"upload_id": slot["upload_id"]})
    assert response.json()["code"] == "UPLOAD_MISSING"


def test_an_upload_of_another_type_is_refused(client: httpx.Client) -> None:
    assert put(slot_for(client), content_type="text/html").status_code == 403


def test_a_second_put_is_refused(running: World, client: httpx.Client) -> None:
    slot = slot_for(client)
    assert put(slot).status_code == 200
    assert put(slot, BYTES[::-1]).status_code == 412
    assert stored(running, slot["upload_id"]) == BYTES


@pytest.mark.parametrize("absent", ["If-None-Match", "Content-Disposition"])
def test_an_upload_without_a_signed_header_is_refused(client: httpx.Client, absent: str) -> None:
    slot = slot_for(client)
    headers = {key: value for key, value in slot["headers"].items() if key != absent}
    assert httpx.put(slot["url"], content=BYTES, headers=headers).status_code == 403


def test_a_completed_upload_is_a_hit_after_its_file_was_deleted(running: World, client: httpx.Client) -> None:
    slot = slot_for(client)
    put(slot)
    body = {"upload_id": slot["upload_id"]}
    track = client.post("/separate-audio", json=body).json()["track_id"]
    running.report(track, published(track=track), mirrored=False)
    store = running.store.client()
    store.delete_object(Bucket=running.store.bucket, Key=upload_key(INSTALL, "default", slot["upload_id"]))
    store.close()
    assert client.post("/separate-audio", json=body).status_code == 200
    refreshed = client.post("/separate-audio", json={**body, "cache": "refresh"})
    assert (refreshed.status_code, refreshed.json()["code"]) == (409, "SOURCE_GONE")


def test_signed_links_set_a_readable_file_name(running: World, client: httpx.Client) -> None:
    body = {"search_query": "A song with links"}
    track = client.post("/separate-audio", json=body).json()["track_id"]
    status = published(track=track)
    status["source"]["title"] = 'Söng/Title: "live"'
    store = running.store.client()
    for stem in status["result"]["stems"].values():
        store.put_object(Bucket=running.store.bucket, Key=stem["key"], Body=stem["key"].encode())
    store.close()
    running.report(track, status)
    answer = client.get(f"/job/{track}").json()
    assert answer["expires_at"] <= answer["ended_at"] + 30 * 24 * 3600
    for stem in ("vocals", "instrumental"):
        download = httpx.get(answer["result"][f"{stem}_url"])
        assert download.status_code == 200
        assert download.content == status["result"]["stems"][stem]["key"].encode()
        disposition = download.headers["content-disposition"]
        assert f'filename="Artist - S_ng Title live ({stem.title()}).mp3"' in disposition
        assert f"filename*=UTF-8''Artist%20-%20S%C3%B6ng%20Title%20live%20%28{stem.title()}%29.mp3" in disposition
        part = httpx.get(answer["result"][f"{stem}_url"], headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, download.content[:4])
    assert client.get(f"/job/{track}").json()["result"] == answer["result"]
    with running.redis() as mirror:
        held = b"".join(mirror.get(name) or b"" for name in mirror.keys("*") if mirror.type(name) == b"string")
    assert b"X-Amz-Signature" not in held


def test_a_link_is_for_its_own_object_only(running: World, client: httpx.Client) -> None:
    slot = slot_for(client)
    put(slot)
    elsewhere = slot["url"].replace(slot["upload_id"], "8a1e0f0e-8d0c-8b9f-9a55-0d7c6f1b2a34")
    assert httpx.put(elsewhere, content=BYTES, headers=slot["headers"]).status_code == 403
    assert httpx.get(slot["url"]).status_code == 403
