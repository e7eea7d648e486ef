"""Ten separations through real pods, and every end arrives at a consumer in the cluster."""

import json
from pathlib import Path
from typing import Any

import pytest

from stemyard_contract.webhook_signature import verify
from tests.cluster.conftest import HOOKS_URL, WEBHOOK_SECRET, System, config_map, server
from tests.support.operator_world import eventually

pytestmark = pytest.mark.cluster

OUTPUTS: list[dict[str, Any]] = [
    *({"format": "mp3", "bitrate": bitrate} for bitrate in (128, 192, 256, 320)),
    *({"format": "m4a", "bitrate": bitrate} for bitrate in (128, 192, 256, 320)),
    {"format": "flac"},
    {"format": "wav"},
]
PATHS = ("/good", "/flaky", "/gone")


@pytest.fixture(scope="module")
def hooks(system: System) -> str:
    """The name of the pod that takes webhooks."""
    system.kubectl("delete", "pod", "hooks", "--ignore-not-found", "--grace-period=0", "--force")
    files = config_map("hooks", {"hooks.py": Path(__file__).with_name("hooks.py")})
    for manifest in (files, *server("hooks", ["python3", "/hooks/hooks.py"])):
        system.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(manifest))
    system.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "pod/hooks")
    return "hooks"


def received(system: System, hooks: str) -> list[dict[str, Any]]:
    program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/received').read().decode())"
    return list(json.loads(system.kubectl("exec", hooks, "--", "python3", "-c", program)))


def settled(system: System, name: str) -> bool:
    status = json.loads(system.kubectl("get", "sepjob", name, "-o", "json"))["status"]
    return any(one["reason"] == "Undelivered" for one in status["conditions"])


def test_every_end_of_ten_separations_arrives(system: System, hooks: str) -> None:
    names = [f"told-{number}" for number in range(len(OUTPUTS))]
    for name, output in zip(names, OUTPUTS, strict=True):
        manifest = {
            "apiVersion": "stemyard.dev/v1alpha1",
            "kind": "SeparationJob",
            "metadata": {"name": name},
            "spec": {
                "source": {"url": system.take(name)},
                "output": output,
                "webhooks": [{"url": f"{HOOKS_URL}{path}/{name}"} for path in PATHS],
            },
        }
        system.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    for name in names:
        system.kubectl("wait", "--for=condition=Complete", "--timeout=600s", f"sepjob/{name}")
        eventually(lambda name=name: settled(system, name), 120)  # type: ignore[misc]
    found = received(system, hooks)
    for name in names:
        track = f"{system.namespace}.{name}"
        for path, attempts in zip(PATHS, (1, 2, 1), strict=True):
            mine = [one for one in found if one["path"] == f"{path}/{name}"]
            assert len(mine) == attempts, (name, path)
            assert len({one["id"] for one in mine}) == 1
            webhook = verify(mine[0]["body"], mine[0]["headers"], WEBHOOK_SECRET, tolerance=3600)
            assert (webhook.event, webhook.payload["track_id"]) == ("separation.completed", track)
    events = system.kubectl("get", "events", "--field-selector", "reason=WebhookUndelivered", "-o", "name").split()
    assert len(events) >= len(names)
