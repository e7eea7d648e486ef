"""A whole service for tests of clients: real API, operator, API server, Valkey and store; only the pods are played."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster.control_plane import ControlPlane
from tests.support import api_world, operator_world
from tests.support.kubelet import kubelet
from tests.support.operator_world import World
from tests.support.servers import Api, api_process
from tests.support.tcp_relay import Relay

MISSING = "zero hits"
"""A search that finds nothing."""
_LONGEST_SECONDS = 120.0


@dataclass(frozen=True)
class Service:
    """The running service. Clients reach API and store through relays."""

    world: World
    api: Api
    api_relay: Relay
    store_relay: Relay
    gate: threading.Event
    """While it is not set, no pod ends."""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no pod end while the block runs."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()

    @property
    def url(self) -> str:
        return self.api_relay.url

    def key(self, key_id: str) -> str:
        """One of the keys of `api_world.keys_file`, or `default` with every scope."""
        return self.api.key if key_id == "default" else f"{key_id}-key"


@contextlib.contextmanager
def service(plane: ControlPlane, folder: Path, work_seconds: float = 0.5, **extra: str) -> Iterator[Service]:
    """Run the service; each Job takes this long, and a search for MISSING fails.

    `extra` are variables of both API and operator.
    """

    gate = threading.Event()
    gate.set()

    def failing(spec: dict[str, object]) -> str | None:
        gate.wait(_LONGEST_SECONDS)
        return "SOURCE_NOT_FOUND" if spec["source"] == {"searchQuery": MISSING} else None

    with contextlib.ExitStack() as stack:
        world = stack.enter_context(operator_world.world(plane, folder))
        world.environment |= extra
        store_relay = stack.enter_context(Relay(world.store.server.port).running())
        api_world.grant(plane, world.namespace)
        environment = {
            **world.environment,
            "STEMYARD_NAMESPACE": world.namespace,
            "KUBECONFIG": str(plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT)),
            "S3_PUBLIC_ENDPOINT_URL": store_relay.url,
            "API_KEYS_FILE": str(api_world.keys_file(folder)),
            "RATE_LIMIT_SUBMITS_PER_MINUTE": "0",
        }
        stack.enter_context(world.operating())
        api = stack.enter_context(api_process(folder, environment))
        stack.enter_context(kubelet(world, failing, work_seconds))
        api_relay = stack.enter_context(Relay(api.server.port).running())
        yield Service(world, api, api_relay, store_relay, gate)
