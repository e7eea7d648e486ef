"""Attacks on the object store by the signed links of pods: each is for one key, method, size and type."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_LINKS_PATH, WorkStage
from tests.support.operator_world import Operator, World, world

FETCH, SEPARATE = WorkStage
SONG = b"fLaC" * 25
SECRET = b"what another track keeps"
VICTIM = "test/work/victim/0123456789abcdef0123456789abcdef/audio.flac"


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("store-attacks")) as found:
        yield found


@pytest.fixture(scope="module")
def operator(running: World) -> Iterator[Operator]:
    with running.operating(MAX_ACTIVE="100", MAX_ACTIVE_FETCH="100") as found:
        client = running.store.client()
        client.put_object(Bucket="stemyard", Key=VICTIM, Body=SECRET)
        client.close()
        yield found


@pytest.fixture(scope="module")
def links(running: World, operator: Operator) -> dict[str, dict[str, Any]]:
    """A link to write and one to read, of a separate pod."""
    running.create("song")
    job = running.wait_job(FETCH)
    running.succeed(job, running.run(job))
    pod = running.run(running.wait_job(SEPARATE))
    files = [{"file": "audio.flac", "method": "GET"}, {"file": "vocals.mp3", "method": "PUT", "bytes": len(SONG)}]
    headers = {"Authorization": f"Bearer {running.token(pod)}"}
    answer = httpx.post(operator.desk + DESK_LINKS_PATH, json={"files": files}, headers=headers, timeout=10)
    return {link["method"]: link for link in answer.json()["links"]}


def contents(running: World) -> dict[str, bytes]:
    client = running.store.client()
    listed = client.list_objects_v2(Bucket="stemyard").get("Contents", [])
    found = {one["Key"]: client.get_object(Bucket="stemyard", Key=one["Key"])["Body"].read() for one in listed}
    client.close()
    return found


def with_path(url: str, change: Callable[[str], str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=change(parts.path)))


def with_query(url: str, **more: str | None) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **more}
    kept = {name: value for name, value in query.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(kept)))


OTHER_PATHS: dict[str, Callable[[str], str]] = {
    "another track": lambda path: f"/stemyard/{VICTIM}",
    "by ..": lambda path: f"{path}/../../../../../{VICTIM.removeprefix('test/')}",
    "by encoded ..": lambda path: f"{path}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/{VICTIM.removeprefix('test/')}",
    "by encoded slashes": lambda path: path.rpartition("/")[0] + "%2f..%2f" + VICTIM.rpartition("/")[2],
    "by double slashes": lambda path: path.replace("/test/", "//test//"),
    "by a double encoding": lambda path: path.replace("/test/", "/%252e%252e/test/"),
    "a folder": lambda path: path.rpartition("/")[0] + "/",
    "below the object": lambda path: path + "/x",
    "another case": lambda path: path.replace("vocals", "VOCALS").replace("audio", "AUDIO"),
    "a neighbouring file": lambda path: path.rpartition("/")[0] + "/manifest.json",
    "another bucket": lambda path: path.replace("/stemyard/", "/other/"),
    "the owner's object": lambda path: "/stemyard/test/owner.json",
    "the bucket": lambda path: "/stemyard",
    "the root": lambda path: "/",
}


def send(method: str, url: str, **options: Any) -> httpx.Response:
    """Send a URL as it is: httpx would resolve `..` before the store saw it."""
    with httpx.Client(timeout=10) as client:
        request = client.build_request(method, url, **options)
        parts = urlsplit(url)
        request.url = httpx.URL(request.url, raw_path=f"{parts.path}?{parts.query}".encode())
        return client.send(request)


def refused(running: World, before: dict[str, bytes], answer: httpx.Response) -> None:
    assert answer.status_code >= 400, (answer.status_code, answer.text[:300])
    assert SECRET not in answer.content
    assert b"ListBucketResult" not in answer.content
    assert contents(running) == before


@pytest.mark.parametrize("how", OTHER_PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_link_is_for_one_key(running: World, links: dict[str, dict[str, Any]], method: str, how: str) -> None:
    before, link = contents(running), links[method]
    body = {"content": SONG, "headers": link["headers"]} if method == "PUT" else {}
    refused(running, before, send(method, with_path(link["url"], OTHER_PATHS[how]), **body))


@pytest.mark.parametrize(
    ("of", "method"),
    [
        ("GET", "PUT"),
        ("GET", "DELETE"),
        ("GET", "POST"),
        ("PUT", "GET"),
        ("PUT", "DELETE"),
        ("PUT", "POST"),
        ("PUT", "HEAD"),
    ],
)
def test_a_link_is_for_one_method(running: World, links: dict[str, dict[str, Any]], of: str, method: str) -> None:
    before = contents(running)
    body = {"content": SONG} if method in {"PUT", "POST"} else {}
    refused(running, before, send(method, links[of]["url"], headers=links[of]["headers"] if body else {}, **body))


@pytest.mark.parametrize(
    "query",
    [
        {"list-type": "2", "prefix": ""},
        {"uploads": ""},
        {"acl": ""},
        {"policy": ""},
        {"tagging": ""},
        {"partNumber": "1", "uploadId": "x"},
        {"versionId": "null"},
        {"response-content-type": "text/html"},
        {"X-Amz-Expires": "604800"},
        {"X-Amz-Signature": "0" * 64},
        {"X-Amz-Signature": None},
        {"X-Amz-Date": "20200101T000000Z"},
    ],
    ids=lambda query: "-".join(query) + ("" if all(query.values()) else "-empty"),
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_link_is_for_one_request(
    running: World, links: dict[str, dict[str, Any]], method: str, query: dict[str, str | None]
) -> None:
    before, link = contents(running), links[method]
    body = {"content": SONG, "headers": link["headers"]} if method == "PUT" else {}
    refused(running, before, send(method, with_query(link["url"], **query), **body))


def test_no_signed_header_may_be_left_out(running: World, links: dict[str, dict[str, Any]]) -> None:
    before, link = contents(running), links["PUT"]
    url = with_query(link["url"], **{"X-Amz-SignedHeaders": "host"})
    refused(running, before, send("PUT", url, content=SONG, headers={"Content-Type": "text/html"}))


@pytest.mark.parametrize(
    "content", [SONG + b"x", SONG[:-1], b"", SONG * 1000], ids=["longer", "shorter", "none", "huge"]
)
def test_a_link_is_for_one_size(running: World, links: dict[str, dict[str, Any]], content: bytes) -> None:
    before, link = contents(running), links["PUT"]
    headers = {**link["headers"], "Content-Length": str(len(content))}
    refused(running, before, send("PUT", link["url"], content=content, headers=headers))


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "audio/mpeg; charset=utf-7", ""])
def test_a_link_is_for_one_type(running: World, links: dict[str, dict[str, Any]], kind: str) -> None:
    before, link = contents(running), links["PUT"]
    refused(running, before, send("PUT", link["url"], content=SONG, headers={**link["headers"], "Content-Type": kind}))


@pytest.mark.parametrize(
    "header",
    [
        {"x-amz-copy-source": f"/stemyard/{VICTIM}"},
        {"x-amz-acl": "public-read"},
        {"x-amz-website-redirect-location": "https://example.com"},
        {"x-amz-tagging": "a=b"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_a_header_that_is_not_signed_brings_nothing_of_another_track(
    running: World, links: dict[str, dict[str, Any]], header: dict[str, str]
) -> None:
    link = links["PUT"]
    send("PUT", link["url"], content=SONG, headers={**link["headers"], **header})
    after = contents(running)
    assert after.get(link["key"], SONG) == SONG, "at most the bytes that were sent"
    assert after[VICTIM] == SECRET
    client = running.store.client()
    client.delete_object(Bucket="stemyard", Key=link["key"])
    client.close()


def test_a_link_to_read_changes_nothing_and_one_to_write_reads_nothing(
    running: World, links: dict[str, dict[str, Any]]
) -> None:
    """What the links are good for, so that the refusals above mean something."""
    assert send("GET", links["GET"]["url"]).status_code == 200
    answer = send("PUT", links["PUT"]["url"], content=SONG, headers=links["PUT"]["headers"])
    assert answer.status_code == 200
    assert SECRET not in answer.content
    assert contents(running)[links["PUT"]["key"]] == SONG
