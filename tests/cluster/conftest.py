"""The whole system on a real cluster, brought up once for this folder's tests and taken down after them."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from demo.service import Service
from demo.system import Installation, bring_up, take_down
from demo.system import System as Running
from localcluster import cli
from localcluster.folders import here
from localcluster.kind_provider import KindProvider
from localcluster.progress import say
from localcluster.provider import Provider
from tests.support.audio import CLIP, RATE, read, write_wav

PLUGIN = Path(__file__).parents[1] / "support/youtube_plugin"
MEDIA_PORT = 8000
NAME = "stemyard-test"
MEDIA_URL = f"http://media.{NAME}.svc.cluster.local:{MEDIA_PORT}"
HOOKS_URL = f"http://hooks.{NAME}.svc.cluster.local:{MEDIA_PORT}"
WEBHOOK_SECRET = "a secret of the cluster tests"
INSTALLATION = Installation(NAME, "test", 30551, 30901)
WORKERS = 2
"""Nodes of a new cluster beside the control plane's, where it can have any: one can be drained then."""
PARTS = ("api", "operator")
RESTARTED = (*PARTS, "valkey")
"""What can be restarted at any time. The store of this installation keeps its objects in its pod."""
KEEP = "STEMYARD_KEEP_CLUSTER"
"""Set it to leave the system running after the tests, so that the next run starts in seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder needs the system."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            # Whichever test comes first waits for the whole system, on a new machine with every image to be built.
            item.add_marker(pytest.mark.timeout(1800))


@dataclass(frozen=True, slots=True)
class System(Running):
    """The running system, and the server that stands in for the internet."""

    media_url: str = MEDIA_URL

    def take(self, name: str) -> str:
        """The address of a recording of three seconds that nothing else has, to be separated by itself."""
        return f"{self.media_url}/take/{name}.wav"

    def song(self, name: str) -> str:
        """The address of such a recording of two minutes, which separates for many seconds."""
        return f"{self.media_url}/song/{name}.wav"

    def resource_of(self, track_id: str) -> dict[str, Any]:
        """The SeparationJob of a track that was asked for through the API."""
        return dict(json.loads(self.kubectl("get", "sepjob", f"sep-{track_id}", "-o", "json")))


def values(*, crds: bool) -> dict[str, Any]:
    """What differs from the demo: the media server may be downloaded from, and yt-dlp finds it in YouTube's place."""
    return {
        "crds": {"enabled": crds},
        "maxActive": 2,
        # The chart's own `gpu` profile asks for more cores than a small test machine has.
        "profiles": {"gpu": {"separate": {"resources": {"requests": {"cpu": "250m", "memory": "512Mi"}}}}},
        "operator": {
            "retry": {"baseSeconds": 2, "maxSeconds": 5},
            "extraEnv": [{"name": "WEBHOOK_SCHEDULE", "value": "0,1,2,4"}],
        },
        "webhooks": {
            "secret": WEBHOOK_SECRET,
            "allowedOrigins": [HOOKS_URL],
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": MEDIA_PORT}]}],
        },
        "separator": {
            "extraEnv": {
                # Service addresses are private, as the guard of fetch rightly says.
                "STEMYARD_FETCH_ALLOWED_CIDRS": "10.96.0.0/12",
                "STEMYARD_FAKE_YOUTUBE_URL": MEDIA_URL,
                "YTDLP_NO_PLUGINS": "",
                "PYTHONPATH": "/plugins",
            }
        },
        "fetch": {
            "extraVolumes": [
                {"name": "plugin", "configMap": "youtube-plugin", "mountPath": "/plugins/yt_dlp_plugins/extractor"}
            ],
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": MEDIA_PORT}]}],
        },
    }


# Ends with this folder: the tests of localcluster itself start from a machine without a cluster.
@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    provider = cli.provider(here())
    found_running = not provider.problems()
    workers = WORKERS if isinstance(provider, KindProvider) else 0
    crds = not (found_running and defined(provider))
    installation = replace(INSTALLATION, workers=workers, values=values(crds=crds))
    try:
        running = bring_up(installation, say)
        found = System(
            Service(running.service.url, running.service.api_key),
            running.kubeconfig,
            running.namespace,
            running.node_address,
        )
        serve_media(found, tmp_path_factory.mktemp("media"))
        yield found
    finally:
        if not os.environ.get(KEEP):
            take_down_all(installation, cluster_too=not found_running)


@pytest.fixture(scope="module")
def doubled(system: System) -> Iterator[System]:
    """Two replicas of the API and of the operator."""
    for part in PARTS:
        system.kubectl("scale", f"deployment/{system.namespace}-{part}", "--replicas=2")
    settled(system)
    yield system
    for part in PARTS:
        system.kubectl("scale", f"deployment/{system.namespace}-{part}", "--replicas=1")
    settled(system)


def settled(system: System) -> None:
    """Wait until every part is as it should be."""
    for part in RESTARTED:
        system.kubectl("rollout", "status", f"deployment/{system.namespace}-{part}", "--timeout=180s")


def defined(provider: Provider) -> bool:
    """Whether another installation has brought the definition of SeparationJobs."""
    cluster = System(Service("", ""), provider.kubeconfig(), NAME, provider.node_address())
    return bool(cluster.kubectl("get", "crd", "separationjobs.stemyard.dev", "--ignore-not-found", "-o", "name"))


def take_down_all(installation: Installation, *, cluster_too: bool) -> None:
    """Leave the machine as it was found."""
    if cluster_too:
        cli.provider(here()).down()
    else:
        take_down(installation)


def serve_media(system: System, folder: Path) -> None:
    """Start the pod that serves media, and give fetch pods the plugin that looks for YouTube there."""
    take = write_wav(folder / "take.wav", read(CLIP)[:, 4 * RATE : 7 * RATE])
    files = {"media.py": Path(__file__).with_name("media.py"), "clip.mp3": CLIP, "take.wav": take}
    plugin = {path.name: path for path in (PLUGIN / "yt_dlp_plugins/extractor").glob("*.py")}
    # A server of an earlier run, left running by choice, would go on with the code it started with.
    system.kubectl("delete", "pod", "media", "--ignore-not-found", "--grace-period=0", "--force")
    serving = server("media", ["python3", "/media/media.py", "/media"])
    for manifest in (config_map("media", files), config_map("youtube-plugin", plugin), *serving):
        # Server-side: a client-side apply would copy the clip into an annotation, which has a limit.
        system.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(manifest))
    system.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/media")


def config_map(name: str, files: dict[str, Path]) -> dict[str, Any]:
    data = {key: b64encode(path.read_bytes()).decode() for key, path in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data}


def server(name: str, command: list[str]) -> list[dict[str, Any]]:
    """A pod that meets Pod Security `restricted`, as the namespace enforces, its ConfigMap mounted, and its Service."""
    container = {
        "name": name,
        "image": "localhost/stemyard/api:test",
        "command": command,
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"}],
        "readinessProbe": {"tcpSocket": {"port": MEDIA_PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": name, "configMap": {"name": name}}],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": MEDIA_PORT}]},
    }
    return [pod, service]
