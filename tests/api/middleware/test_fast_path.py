"""The fast path responds byte for byte as the middleware and routes behind it do."""

import json
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemyard_api.app import App, create_app
from stemyard_api.auth.api_keys import Keyring, Principal, Validity
from stemyard_api.middleware.fast_path import FastPath
from stemyard_api.services import cache_hits
from stemyard_api.services.submission import submit_body
from stemyard_contract.identity import cache_key, resource_name, track_id
from stemyard_contract.mirror import DELETED_UID, MirrorRecord, RequestRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Output, Phase, Source, Stem
from tests.api import tracks
from tests.api.settings_for_tests import settings
from tests.support.api_world import keys_file
from tests.support.servers import Server, valkey

NOW = 1_800_000_000.0
MIRROR = MirrorKeys("main")
Headers = list[tuple[bytes, bytes]]
Exchanged = tuple[int, Headers, bytes]


class Noting:
    """Records the requests that reach it."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(dict(scope["headers"])[b"x-request-id"].decode())
        await self.app(scope, receive, send)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Server]:
    with valkey(tmp_path).running() as running:
        yield running


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@asynccontextmanager
async def both(cache: Server, folder: Path, **changes: Any) -> AsyncIterator[tuple[FastAPI, FastAPI, list[str]]]:
    """The app, the same without its fast path, and the ids of requests that the first one's did not answer.

    Each has a database of its own, so that their rate limits are in step.
    """
    passed: list[str] = []
    made = []
    for database in (0, 1):
        url = f"redis://127.0.0.1:{cache.port}/{database}"
        file = str(keys_file(folder))
        given = {"redis_url": url, "api_keys_file": file, "r2_public_domain": "media.example.com", **changes}
        made.append(create_app(settings(**given)))
    hot, cold = made
    assert cast(object, hot.outer[-1].cls) is FastPath
    hot.outer.append(Middleware(Noting, seen=passed))
    del cold.outer[-1]
    async with hot.router.lifespan_context(hot), cold.router.lifespan_context(cold):
        yield hot, cold, passed


async def exchange(app: FastAPI, method: str, path: str, headers: Headers, chunks: list[bytes]) -> Exchanged:
    """Send one request as uvicorn does."""
    parts = [
        {"type": "http.request", "body": chunk, "more_body": number + 1 < len(chunks)}
        for number, chunk in enumerate(chunks)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return sent[0]["status"], sent[0]["headers"], b"".join(message.get("body", b"") for message in sent[1:])


def masked(answer: Exchanged) -> Exchanged:
    """Remove values that depend on Redis's clock."""
    status, headers, body = answer
    return status, [(name, re.sub(rb"\b([rt])=\d+", rb"\1=?", value)) for name, value in headers], body


def identity(query: str, owner: str | None = None, **output: Any) -> tuple[str, str]:
    stems = [Stem.VOCALS, Stem.INSTRUMENTAL]
    content = cache_key(Source(search_query=query), "spleeter-2stems", stems, Output(**output))
    own = cache_key(Source(search_query=query), "spleeter-2stems", stems, Output(**output), owner)
    return content, track_id(own)


SHARED = {"claims": ["default", "team-a"], "metadata": {"team-a": '{"mine":1}'}}
STATES: dict[str, dict[str, Any]] = {
    "waiting": {**SHARED},
    "working": {**SHARED, "phase": Phase.SEPARATING, "started_at": NOW - 9, "progress": 12},
    "done": {**SHARED, "phase": Phase.COMPLETED, "expires_at": NOW + 86_400.5, "ended_at": NOW - 5},
    "done for ever": {**SHARED, "phase": Phase.COMPLETED, "expires_at": None, "ended_at": NOW - 5},
    "expired": {**SHARED, "phase": Phase.COMPLETED, "expires_at": NOW, "ended_at": NOW - 5},
    "told": {**SHARED, "phase": Phase.COMPLETED, "webhooks": {"default": "https://example.com/h"}},
    "failed": {**SHARED, "phase": Phase.FAILED, "ended_at": NOW - 5},
    "cancelling": {**SHARED, "cancel": True},
    "others": {"claims": ["team-b"], "phase": Phase.COMPLETED, "ended_at": NOW - 5},
    "of another key": {**SHARED, "owner": "team-b", "phase": Phase.COMPLETED, "ended_at": NOW - 5},
    "run again": {**SHARED, "phase": Phase.COMPLETED, "run": 2, "ended_at": NOW - 5},
    "Ünïcode № 1": {**SHARED, "phase": Phase.COMPLETED, "title": "Ünïcode", "ended_at": NOW - 5},
}
REQUESTS = {
    "done for ever": RequestRecord(uid="u1", run=1, version=7),
    "told": RequestRecord(uid="u1", run=2, version=7),
    "others": RequestRecord(uid=DELETED_UID, run=1),
}


def fill(cache: Server, owner: str | None = None) -> list[str]:
    """Put all states into both databases; return the ids of the tracks."""
    ids = []
    for database in (0, 1):
        with redis.Redis(port=cache.port, db=database) as mirror:
            for query, changes in STATES.items():
                content, track = identity(query, owner)
                owned = {} if owner is None else {"owner": owner}
                names = {"track_id": track, "name": resource_name(track), "query": query, "cache_key": content}
                mirror.set(MIRROR.record(track), tracks.record(**{**names, **changes, **owned}).dump())
                if query in REQUESTS:
                    mirror.set(MIRROR.request(track), REQUESTS[query].dump())
                ids.append(track)
            unreadable = identity("unreadable", owner)[1]
            mirror.set(MIRROR.record(unreadable), "{}")
    return sorted({*ids, unreadable})


def spelt(query: str, **further: Any) -> bytes:
    return json.dumps({"search_query": query, **further}, ensure_ascii=False).encode()


BODIES: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"done"',
    b"{}",
    b'\xef\xbb\xbf{"search_query": "done"}',
    json.dumps({"search_query": "done"}).encode("utf-16"),
    b'{"search_query": "\xff"}',
    b'{"search_query": "a", "search_query": "done"}',
    b'{"search_query": "done", "metadata": {"x": NaN}}',
    b'{"search_query": "done", "url": "https://example.com/a.mp3"}',
    b'{"search_query": "done", "bitrate": 320.0}',
    b'{"search_query": 7}',
    b'{"search_query": "\\ud800"}',
    b'{"search_query": "done", "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    b" " * 5000 + b'{"search_query": "done"}',
    b'{"upload_id": "nobody"}',
    *(spelt(query) for query in [*STATES, "unreadable", "new"]),
    *(spelt(f"  {query.upper()}!", stems=["instrumental", "vocals"]) for query in STATES),
    spelt("done", unknown="field"),
    spelt("done", cache="refresh"),
    spelt("done", model="spleeter-2stems"),
    spelt("done", model="none"),
    spelt("done", metadata={"mine": "é"}),
    spelt("done", metadata={"long": "x" * 2000}),
    spelt("done", webhook_url="https://example.com/h"),
    spelt("done", bitrate=128),
    spelt("done", stems=[]),
    spelt("told", webhook_url="https://example.com/h"),
    spelt("told", webhook_url="https://example.com/other"),
]
KEYS: list[Headers] = [
    [(b"x-api-key", b"team-a-key")],
    [(b"x-api-key", b"team-b-key")],
    [(b"authorization", b"Bearer boss-key")],
    [(b"x-api-key", b"reader-key")],
    [(b"x-api-key", b"nobody")],
    [],
]
PLAIN = (b"content-type", b"application/json")
FURTHER: list[Headers] = [
    [PLAIN],
    [(b"content-type", b"application/json; charset=utf-8")],
    [(b"content-type", b"text/plain")],
    [],
    [PLAIN, (b"idempotency-key", b"k-1")],
    [PLAIN, (b"idempotency-key", b"")],
    [PLAIN, (b"expect", b"100-continue")],
]


def posts(seed: int) -> Iterator[tuple[Headers, list[bytes]]]:
    """Every body with usual headers, then random bodies with random headers."""
    chance = random.Random(seed)
    for body in BODIES:
        yield [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body))], [body]
    for _ in range(100):
        body, cut = chance.choice(BODIES), chance.randrange(1, 20)
        chunks = [body] if chance.random() < 0.7 else [body[:cut], body[cut:]]
        length = [(b"content-length", b"%d" % len(body))] if chance.random() < 0.9 else []
        key = chance.choice(KEYS[:3]) if chance.random() < 0.7 else chance.choice(KEYS)
        yield [*key, *chance.choice(FURTHER), *length], chunks


@pytest.mark.parametrize("owner", [None, "team-a"])
async def test_posts(nowhere: str, cache: Server, tmp_path: Path, owner: str | None) -> None:
    fill(cache, owner)
    sharing = "shared" if owner is None else "per-key"
    statuses = []
    async with both(cache, tmp_path, result_sharing=sharing, rate_limit_submits_per_minute=1000) as (hot, cold, passed):
        for number, (headers, chunks) in enumerate(posts(7)):
            told = [*headers, (b"x-request-id", b"r-%d" % number)]
            found = [await exchange(app, "POST", "/separate-audio", told, list(chunks)) for app in (hot, cold)]
            assert masked(found[0]) == masked(found[1]), (told, chunks)
            statuses.append(found[0][0])
            plain = PLAIN in headers and not {name for name, _ in headers} & {b"idempotency-key", b"expect"}
            if found[0][0] in {200, 202} and plain and any(name == b"content-length" for name, _ in headers):
                assert f"r-{number}" not in passed or sum(map(len, chunks)) > 4096, (told, chunks)
    assert {200, 202, 401, 403, 422, 503} <= set(statuses)
    assert statuses.count(200) > 10


async def test_states(nowhere: str, cache: Server, tmp_path: Path) -> None:
    ids = [*fill(cache), "nobody", "elsewhere.by-hand", ""]
    async with both(cache, tmp_path) as (hot, cold, passed):
        for turn in range(2):
            for number, track in enumerate(ids):
                for key in KEYS:
                    told = [*key, (b"x-request-id", f"{turn}-{number}".encode())]
                    found = [await exchange(app, "GET", f"/job/{track}", told, [b""]) for app in (hot, cold)]
                    assert masked(found[0]) == masked(found[1]), (told, track)
    assert len(passed) < len(ids) * len(KEYS) * 2


async def test_a_kubectl_users_track_is_hidden_once_a_key_no_longer_names_its_namespace(
    nowhere: str, cache: Server, tmp_path: Path
) -> None:
    track = "songs.demo"
    with redis.Redis(port=cache.port) as mirror:
        mirror.set(MIRROR.record(track), tracks.completed(track_id=track, namespace="songs", name="demo").dump())
    async with both(cache, tmp_path) as (hot, _, passed):
        keyring = cast(Keyring, cast(App, hot).outer[-2].kwargs["keyring"])
        entries = keyring.entries

        def reload_keys(namespaces: frozenset[str]) -> None:
            principals = [replace(one.principal, namespaces=namespaces, validity=Validity()) for one in entries]
            keyring.replace(replace(one, principal=new) for one, new in zip(entries, principals, strict=True))

        async def statuses(key: Headers) -> list[int]:
            told = [*key, (b"x-request-id", b"r")]
            return [(await exchange(hot, "GET", f"/job/{track}", told, [b""]))[0] for _ in range(2)]

        assert await statuses([(b"x-api-key", b"tenant-key")]) == [404, 404]
        reload_keys(frozenset({"songs"}))
        assert await statuses([(b"x-api-key", b"tenant-key")]) == [200, 200]
        reload_keys(frozenset())
        passed.clear()
        assert await statuses([(b"x-api-key", b"tenant-key")]) == [404, 404]
        assert await statuses(KEYS[0]) == [404, 404]
        assert await statuses(KEYS[2]) == [200, 200]
        assert len(passed) == 4


async def test_refusals_are_counted_once(nowhere: str, cache: Server, tmp_path: Path) -> None:
    fill(cache)
    body = b'{"search_query": "done"}'
    headers = [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body)), (b"x-request-id", b"r")]
    async with both(cache, tmp_path, rate_limit_submits_per_minute=3) as (hot, cold, _):
        for app in (hot, cold):
            answers = [await exchange(app, "POST", "/separate-audio", headers, [body]) for _ in range(5)]
            assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
            assert json.loads(answers[4][2])["code"] == "RATE_LIMITED"
            assert dict(answers[2][1])[b"ratelimit"].startswith(b'"submit";r=0;')


async def test_a_hit_is_one_call(nowhere: str, cache: Server, tmp_path: Path) -> None:
    fill(cache)
    body = b'{"search_query": "done"}'
    headers = [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body)), (b"x-request-id", b"r")]
    async with both(cache, tmp_path) as (hot, _, passed):
        await exchange(hot, "POST", "/separate-audio", headers, [body])
        with redis.Redis(port=cache.port) as watcher:
            watcher.config_resetstat()
            assert (await exchange(hot, "POST", "/separate-audio", headers, [body]))[0] == 200
            calls = watcher.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] == 1
    # within the script, as Redis counts them
    assert {"cmdstat_get", "cmdstat_mget"} <= set(calls)
    assert calls["cmdstat_mget"]["calls"] == 1
    assert passed == []


@pytest.mark.parametrize("query", ["new", "failed", "others"])
async def test_a_miss_reads_redis_once(nowhere: str, cache: Server, tmp_path: Path, query: str) -> None:
    """The route continues with the fast path's result; without a cluster it then fails."""
    fill(cache)
    body = spelt(query)
    headers = [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body)), (b"x-request-id", b"r")]
    async with both(cache, tmp_path) as (hot, cold, passed):
        await exchange(hot, "POST", "/separate-audio", headers, [body])
        with redis.Redis(port=cache.port) as watcher:
            watcher.config_resetstat()
            found = await exchange(hot, "POST", "/separate-audio", headers, [body])
            calls = watcher.info("commandstats")
        assert masked(found) == masked(await exchange(cold, "POST", "/separate-audio", headers, [body]))
    assert found[0] == 503
    assert passed == ["r", "r"]
    assert calls["cmdstat_evalsha"]["calls"] == 1
    assert calls["cmdstat_mget"]["calls"] == 1


async def test_a_miss_is_identified_once(
    nowhere: str, cache: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identified: list[bytes | None] = []
    identify = Keyring.identify

    def counting(ring: Keyring, presented: bytes | None) -> Principal:
        identified.append(presented)
        return identify(ring, presented)

    monkeypatch.setattr(Keyring, "identify", counting)
    body = spelt("new")
    headers = [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body)), (b"x-request-id", b"r")]
    async with both(cache, tmp_path) as (hot, _, _):
        assert (await exchange(hot, "POST", "/separate-audio", headers, [body]))[0] == 503
    assert identified == [b"team-a-key"]


async def test_a_response_that_cannot_be_rendered_is_counted_once(nowhere: str, cache: Server, tmp_path: Path) -> None:
    """Without an object store and a public domain there are no links to the stems."""
    fill(cache)
    body = spelt("done")
    headers = [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body)), (b"x-request-id", b"r")]
    async with both(cache, tmp_path, r2_public_domain=None, rate_limit_submits_per_minute=9) as (hot, cold, _):
        found = [await exchange(app, "POST", "/separate-audio", headers, [body]) for app in (hot, cold)]
    assert masked(found[0]) == masked(found[1])
    for status, sent, content in found:
        assert (status, json.loads(content)["code"]) == (500, "INTERNAL_CONFIG")
        assert dict(sent)[b"ratelimit"].startswith(b'"submit";r=8;')


async def test_requests_of_a_key_for_one_track_are_rendered_once_until_it_changes(
    nowhere: str, cache: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache)
    rendered: list[str] = []

    def counting(record: MirrorRecord, *rest: Any) -> tuple[int, Any]:
        rendered.append(record.title or "")
        return submit_body(record, *rest)

    monkeypatch.setattr(cache_hits, "submit_body", counting)
    content, track = identity("done")
    names = {"track_id": track, "name": resource_name(track), "query": "done", "cache_key": content}
    async with both(cache, tmp_path) as (hot, _, _):
        for title in ("First", "Second"):
            record = tracks.record(**names, **{**STATES["done"], "title": title})
            with redis.Redis(port=cache.port) as mirror:
                mirror.set(MIRROR.record(track), record.dump())
            for number in range(3):
                body = spelt("done", metadata={"n": f"{title} {number}"})
                headers = [*KEYS[0], PLAIN, (b"content-length", b"%d" % len(body))]
                assert (await exchange(hot, "POST", "/separate-audio", headers, [body]))[0] == 200
    assert rendered == ["First", "Second"]
