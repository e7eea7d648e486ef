"""An unknown id costs one call of the Kubernetes API server a second, and a track made here is found at once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml

from stemyard_api.app import create_app
from stemyard_contract.identity import cache_key, track_id
from stemyard_contract.separationjob import Output, Source, Stem
from tests.api.settings_for_tests import KEY, settings
from tests.support.http_server import Exchange, HttpServer

TRACK = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"


class EmptyCluster:
    """An API server without SeparationJobs that accepts new ones."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.made: dict[str, bytes] = {}
        self.fails = False

    def __call__(self, exchange: Exchange) -> None:
        path = exchange.route_path
        if exchange.command == "POST":
            resource = json.loads(exchange.body())
            name = resource["metadata"]["name"]
            resource["metadata"] |= {
                "uid": "u1",
                "resourceVersion": "1",
                "namespace": "stemyard",
                "creationTimestamp": "2026-01-02T03:04:05Z",
            }
            self.made[f"{path}/{name}"] = json.dumps(resource).encode()
            exchange.answer(201, self.made[f"{path}/{name}"])
        elif "/separationjobs/" in path:
            self.reads.append(path.rpartition("/")[2])
            if self.fails:
                exchange.answer(500, b"{}")
                return
            exchange.answer(200 if path in self.made else 404, self.made.get(path, b"{}"))
        else:
            exchange.answer(200, b"ok")


@pytest.fixture
def cluster() -> EmptyCluster:
    return EmptyCluster()


@pytest.fixture
async def client(
    cluster: EmptyCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    with HttpServer(cluster) as server:
        named = [{"name": "c", "cluster": {"server": server.url}}]
        context = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        users = [{"name": "u", "user": {"token": "none"}}]
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump({"clusters": named, "contexts": context, "users": users, "current-context": "c"})
        )
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        app = create_app(settings())
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            headers = {"X-API-Key": KEY}
            async with httpx.AsyncClient(transport=transport, base_url="http://stemyard", headers=headers) as opened:
                yield opened


async def test_an_unknown_id_costs_one_read(client: httpx.AsyncClient, cluster: EmptyCluster) -> None:
    for _ in range(5):
        assert (await client.get(f"/job/{TRACK}")).status_code == 404
        assert (await client.get(f"/job/{TRACK}/candidates")).status_code == 404
        assert (await client.get(f"/job/{TRACK}/events")).status_code == 404
    assert cluster.reads == [f"sep-{TRACK}"]


async def test_a_cluster_that_fails_is_asked_once(client: httpx.AsyncClient, cluster: EmptyCluster) -> None:
    cluster.fails = True
    response = await client.get(f"/job/{TRACK}")
    assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")
    assert cluster.reads == [f"sep-{TRACK}"]


async def test_a_track_made_here_is_found_at_once(client: httpx.AsyncClient) -> None:
    key = cache_key(Source(search_query="a"), "spleeter-2stems", [Stem.VOCALS, Stem.INSTRUMENTAL], Output())
    track = track_id(key)
    assert (await client.get(f"/job/{track}")).status_code == 404
    assert (await client.post("/separate-audio", json={"search_query": "a"})).json()["track_id"] == track
    assert (await client.get(f"/job/{track}")).status_code == 200
    for path in (track.upper(), f"{track.upper()}/wait?timeout=0"):
        assert (await client.get(f"/job/{path}")).json()["track_id"] == track


async def test_webhook_endpoints_take_ids_in_upper_case_too(client: httpx.AsyncClient) -> None:
    track = (await client.post("/separate-audio", json={"search_query": "a"})).json()["track_id"]
    deliveries = await client.get(f"/job/{track.upper()}/webhooks")
    assert deliveries.json() == {"track_id": track, "deliveries": [], "attempts": []}
    for path, body in (
        (f"/job/{track.upper()}/webhooks/redeliver", {}),
        ("/webhooks/test", {"track_id": track.upper()}),
    ):
        refused = await client.post(path, json=body)
        assert refused.json()["code"] == "NOT_FOUND", refused.text  # the track has no webhook, but is found
