"""Rate limits and quotas of one or several real processes with a real Valkey."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from stemyard_contract.identity import cache_key, track_id
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.separationjob import Output, Source, Stem
from tests.api import tracks
from tests.support.api_world import eventually, keys_file, services
from tests.support.kv_server import ACCOUNT, NAMESPACE, TOKEN, KvServer
from tests.support.servers import Api, Server, api_process, valkey

TRACK = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
INSTALL = {"STEMYARD_INSTALL_ID": "main", "STEMYARD_NAMESPACE": "stemyard"}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Server]:
    with valkey(tmp_path).running() as running:
        yield running


def environment(cache: Server | None, **extra: str) -> dict[str, str]:
    return {**INSTALL, **({} if cache is None else {"REDIS_URL": f"redis://127.0.0.1:{cache.port}/0"}), **extra}


def submit(api: Api, **headers: str) -> httpx.Response:
    """Without a cluster, an allowed request is 503."""
    known = {"X-API-Key": api.key, **headers}
    return httpx.post(f"{api.url}/separate-audio", json={"search_query": "a"}, headers=known, timeout=30)


async def admitted(apis: list[Api], clients: int, each: int) -> int:
    async def one(http: httpx.AsyncClient, api: Api) -> int:
        answers = [await http.post(f"{api.url}/separate-audio", content=b"x") for _ in range(each)]
        assert {answer.status_code for answer in answers} <= {422, 429}
        return sum(answer.status_code == 422 for answer in answers)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(headers={"X-API-Key": "test-key"}, timeout=60, limits=limits) as http:
        return sum(await asyncio.gather(*(one(http, apis[number % len(apis)]) for number in range(clients))))


async def test_clients_of_several_processes_share_the_exact_limit(nowhere: str, cache: Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        settings = environment(cache, RATE_LIMIT_SUBMITS_PER_MINUTE="120")
        apis = [stack.enter_context(api_process(tmp_path, settings)) for _ in range(4)]
        with redis.Redis(port=cache.port) as watcher:
            watcher.config_resetstat()
            started = time.monotonic()
            passed = await admitted(apis, clients=64, each=6)
            seconds = time.monotonic() - started
            calls: dict[str, Any] = watcher.info("commandstats")
    assert 120 <= passed <= 120 + 2 * seconds
    asked = 64 * 6
    scripts = calls["cmdstat_evalsha"]["calls"]
    # one call decides for all that ask in the same moment; each process may find the script unknown once
    assert 0 < scripts <= asked + 4


def test_responses_report_remaining_requests_and_retry_after(nowhere: str, cache: Server, tmp_path: Path) -> None:
    with api_process(tmp_path, environment(cache, RATE_LIMIT_SUBMITS_PER_MINUTE="2")) as api:
        first = submit(api)
        assert first.status_code == 503
        assert first.headers["ratelimit-policy"] == '"submit";q=2;w=60'
        assert first.headers["ratelimit"] == '"submit";r=1;t=30'
        submit(api)
        refused = submit(api)
        assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
        assert refused.json()["retryable"] is True
        assert 25 <= int(refused.headers["retry-after"]) <= 31
        assert refused.headers["ratelimit"].startswith('"submit";r=0')
        read = httpx.get(f"{api.url}/nothing", headers={"X-API-Key": api.key})
        assert read.headers["ratelimit"].startswith('"read";r=2999')


def test_a_batch_counts_each_of_its_requests(nowhere: str, cache: Server, tmp_path: Path) -> None:
    with api_process(tmp_path, environment(cache, RATE_LIMIT_SUBMITS_PER_MINUTE="5")) as api, api.client() as client:
        assert client.post("/batch", json={"requests": [{}] * 4}).status_code == 200
        assert client.post("/batch", json={"requests": [{}] * 2}).status_code == 429


def test_a_key_has_its_own_limits(nowhere: str, cache: Server, tmp_path: Path) -> None:
    file = keys_file(tmp_path)
    file.write_text(file.read_text().replace("scopes: [read]", "scopes: [read], limits: {reads_per_minute: 1}"))
    with api_process(tmp_path, environment(cache, API_KEYS_FILE=str(file))) as api:
        codes = [httpx.get(f"{api.url}/x", headers={"X-API-Key": "reader-key"}).status_code for _ in range(2)]
        assert codes == [404, 429]
        assert httpx.get(f"{api.url}/x", headers={"X-API-Key": "team-a-key"}).status_code == 404


def test_addresses_without_a_key_are_limited_and_only_trusted_proxies_are_believed(
    nowhere: str, tmp_path: Path
) -> None:
    def anonymous(api: Api, forwarded: str) -> int:
        return httpx.get(f"{api.url}/jobs", headers={"X-Forwarded-For": forwarded}).status_code

    limit = {"RATE_LIMIT_ANONYMOUS_PER_MINUTE": "2"}
    with api_process(tmp_path, environment(None, **limit)) as api:
        assert [anonymous(api, f"10.0.0.{number}") for number in range(3)] == [401, 401, 429]
        assert httpx.get(f"{api.url}/jobs", headers={"X-API-Key": "test-key"}).status_code == 503
        assert httpx.get(f"{api.url}/health").status_code == 200
    with api_process(tmp_path, environment(None, **limit, TRUSTED_PROXIES="127.0.0.0/8")) as api:
        assert [anonymous(api, f"10.0.0.{number}") for number in range(3)] == [401, 401, 401]
        # what the caller wrote before the proxy's own entry counts for nothing
        assert [anonymous(api, f"1.1.1.{number}, 10.9.9.9") for number in range(3)] == [401, 401, 429]
        assert [anonymous(api, f"2001:db8::{number}") for number in range(3)] == [401, 401, 429]
        secure = httpx.get(f"{api.url}/health", headers={"X-Forwarded-Proto": "https"})
        assert "strict-transport-security" in secure.headers


def test_without_redis_each_process_enforces_its_share(nowhere: str, cache: Server, tmp_path: Path) -> None:
    with api_process(tmp_path, environment(cache, RATE_LIMIT_SUBMITS_PER_MINUTE="4", API_REPLICAS="2")) as api:
        cache.stop()
        assert [submit(api).status_code for _ in range(3)] == [503, 503, 429]
        eventually(lambda: not services(api)["rate_limiting_operational"])
        cache.start()
        eventually(lambda: bool(services(api)["rate_limiting_operational"]))
        assert [submit(api).status_code for _ in range(5)] == [503] * 4 + [429]


def test_cloudflare_kv_replaces_an_unavailable_redis(nowhere: str, tmp_path: Path) -> None:
    store = KvServer()
    with store.serving() as server:
        kv = {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "CLOUDFLARE_KV_NAMESPACE_ID": NAMESPACE,
            "CLOUDFLARE_API_URL": f"{server.url}/client/v4",
            "RATE_LIMIT_SUBMITS_PER_MINUTE": "2",
        }
        store.failing = True
        with api_process(tmp_path, environment(None, **kv)) as api:
            assert services(api)["rate_limiting_configured"]
            assert not services(api)["rate_limiting_operational"]
            assert "approximate" not in submit(api).headers["ratelimit-policy"]
            store.failing = False
            eventually(lambda: bool(services(api)["rate_limiting_operational"]))
            assert submit(api).headers["ratelimit-policy"] == '"submit";q=2;w=60;mode="approximate"'
            assert [submit(api).status_code for _ in range(2)] == [503, 429]


def batch(api: Api, count: int) -> httpx.Response:
    body = {"requests": [{"search_query": f"Song {number}", "bitrate": 1} for number in range(count)]}
    return httpx.post(f"{api.url}/batch", json=body, headers={"X-API-Key": api.key}, timeout=30)


@pytest.mark.parametrize("redis_url", ["cache", None])
def test_a_batch_above_the_limit_passes_with_a_full_bucket(
    nowhere: str, cache: Server, tmp_path: Path, redis_url: str | None
) -> None:
    with api_process(tmp_path, environment(cache if redis_url else None)) as api:
        passed = batch(api, 100)
        assert (passed.status_code, len(passed.json()["results"])) == (200, 100)
        refused = batch(api, 61)
        # 40 are to be paid off, and one more
        assert (refused.status_code, 38 <= int(refused.headers["retry-after"]) <= 42) == (429, True)


def test_uploads_redeliveries_and_erasures_count_as_submits(nowhere: str, cache: Server, tmp_path: Path) -> None:
    calls = ("POST", "/uploads"), ("POST", f"/job/{TRACK}/webhooks/redeliver"), ("DELETE", "/keys/default/data")
    with api_process(tmp_path, environment(cache, RATE_LIMIT_SUBMITS_PER_MINUTE="3")) as api:
        for method, path in calls:
            answer = httpx.request(method, f"{api.url}{path}", json={}, headers={"X-API-Key": api.key}, timeout=30)
            assert answer.headers["ratelimit-policy"].startswith('"submit"')
        assert submit(api).status_code == 429


def identity(query: str) -> str:
    return cache_key(Source(search_query=query), "spleeter-2stems", [Stem.VOCALS, Stem.INSTRUMENTAL], Output())


def quota(api: Api, query: str) -> httpx.Response:
    headers = {"X-API-Key": "team-a-key"}
    return httpx.post(f"{api.url}/separate-audio", json={"search_query": query}, headers=headers, timeout=30)


def test_minutes_of_tracks_under_way_count_as_far_as_they_are_known(
    nowhere: str, cache: Server, tmp_path: Path
) -> None:
    limits = {"QUOTA_MINUTES_PER_DAY": "5", "API_KEYS_FILE": str(keys_file(tmp_path))}
    keys = MirrorKeys("main")
    with api_process(tmp_path, environment(cache, **limits)) as api, redis.Redis(port=cache.port) as mirror:
        mirror.zadd(keys.under_way("team-a"), {TRACK: time.time()})
        mirror.set(keys.record(TRACK), tracks.record().dump())
        assert quota(api, "c").status_code == 503
        mirror.set(keys.record(TRACK), tracks.known(duration=300.0).dump())
        assert quota(api, "c").json()["code"] == "QUOTA_EXCEEDED"


def test_minutes_and_concurrency_are_counted_once(nowhere: str, cache: Server, tmp_path: Path) -> None:
    file = str(keys_file(tmp_path))
    limits = {"QUOTA_CONCURRENT": "2", "QUOTA_MINUTES_PER_DAY": "5", "API_KEYS_FILE": file}
    limits["R2_PUBLIC_DOMAIN"] = "media.example.com"
    keys = MirrorKeys("main")
    with api_process(tmp_path, environment(cache, **limits)) as api, redis.Redis(port=cache.port) as mirror:
        mirror.zadd(keys.under_way("team-a"), {TRACK: time.time(), "b": time.time()})
        refused = quota(api, "c")
        assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
        assert int(refused.headers["retry-after"]) > 0
        mirror.set(keys.record(TRACK), tracks.completed(duration=240.0).dump())
        # there is room now, and no cluster: what was not placed leaves again
        assert [quota(api, "c").status_code for _ in range(3)] == [503, 503, 503]
        assert mirror.zrange(keys.under_way("team-a"), 0, -1) == [b"b"]
        [day] = mirror.keys(keys.minutes("team-a", "*"))
        assert float(mirror.get(day) or 0) == 4.0
        assert 0 < mirror.ttl(day) <= 172_800
        mirror.set(keys.record("b"), tracks.completed(track_id="b", duration=60.0).dump())
        key = identity("had before")
        mine = {"claims": ["team-a"], "cache_key": key, "track_id": track_id(key), "stem_keys": {}}
        mirror.set(keys.record(track_id(key)), tracks.completed(**mine, expires_at=None).dump())
        assert [quota(api, text).status_code for text in ("had before", "Had before!")] == [200, 200]
        again = httpx.post(f"{api.url}/job/{TRACK}/retry", headers={"X-API-Key": "team-a-key"}, timeout=30)
        assert (again.status_code, again.json()["code"]) == (429, "QUOTA_EXCEEDED")
        refused = quota(api, "d")
        assert "minutes of audio a day" in refused.json()["error"]
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
