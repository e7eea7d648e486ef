"""The original service's client against the live API and operator, configured by its environment variables alone.

Redis is configured as the original service documents it, by `rediss://` with user and password; links are those of a
public bucket; rate limits have Cloudflare KV behind them.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from tests.original_client.suite import OriginalClient, OriginalService, Webhook
from tests.support import api_world, operator_world
from tests.support.kubelet import kubelet
from tests.support.kv_server import ACCOUNT, NAMESPACE, TOKEN, KvServer
from tests.support.operator_world import World
from tests.support.servers import api_process, valkey
from tests.support.tls import tls_before
from tests.support.webhook_receiver import Receiver

SECRET = "a webhook secret"
MISSING = "zero hits"
USER, PASSWORD = "upstash", "correct-horse"


@pytest.fixture(scope="module")
def service(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginalService]:
    folder = tmp_path_factory.mktemp("service")
    redis = valkey(folder, USER, PASSWORD)
    with (
        operator_world.world(control_plane, folder) as world,
        redis.running(),
        tls_before(redis.port, folder) as tls,
        Receiver() as receiver,
        KvServer().serving() as kv,
    ):
        world.store.let_everybody_read()
        world.environment |= {
            # how this machine stands in for Upstash and Cloudflare
            "SSL_CERT_FILE": str(tls.authority),
            "CLOUDFLARE_API_URL": f"{kv.url}/client/v4",
            # the original service's own
            "REDIS_URL": f"rediss://{USER}:{PASSWORD}@localhost:{tls.port}",
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "CLOUDFLARE_KV_NAMESPACE_ID": NAMESPACE,
            "R2_PUBLIC_DOMAIN": f"{world.store.url}/{world.store.bucket}",
            "WEBHOOK_URL": receiver.url("/webhooks"),
            "WEBHOOK_SECRET": SECRET,
            "MAX_FILE_SIZE_MB": "50",
        }
        yield from _serving(world, receiver, folder)


def _serving(world: World, receiver: Receiver, folder: Path) -> Iterator[OriginalService]:
    api_world.grant(world.plane, world.namespace)
    environment = {**world.environment, "STEMYARD_NAMESPACE": world.namespace}
    environment["KUBECONFIG"] = str(world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT))

    def failing(spec: dict[str, object]) -> str | None:
        return "SOURCE_NOT_FOUND" if spec["source"] == {"searchQuery": MISSING} else None

    def notified(track_id: str) -> Sequence[Webhook]:
        return [(got.headers, got.body.decode()) for got in receiver.of(track_id)]

    with world.operating(), api_process(folder, environment) as api, kubelet(world, failing):
        yield OriginalService(api.url, api.key, "Song Title Artist", MISSING, notified, SECRET, patience=60)


class TestOriginalClient(OriginalClient):
    """The whole service, run locally."""


def test_links_are_those_of_the_public_domain(service: OriginalService) -> None:
    with service.client() as client:
        answer = client.post("/separate-audio", json={"search_query": service.query}).json()
    assert "X-Amz-Signature" not in json.dumps(answer)
