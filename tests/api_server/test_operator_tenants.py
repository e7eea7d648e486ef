"""What a tenant writes into a SeparationJob of its own namespace never reaches tracks, keys or webhooks of the API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.control_plane import ControlPlane
from stemyard_contract.identity import resource_name, spec_cache_key, track_id
from stemyard_contract.separationjob import LABEL_OWNER, LABEL_TRACK, SeparationJobSpec
from tests.support.operator_world import World, bind, eventually, second_namespace, world

pytestmark = pytest.mark.api_server

SPEC: dict[str, Any] = {"source": {"searchQuery": "Night Train"}, "model": "spleeter-2stems"}
TRACK = track_id(spec_cache_key(SeparationJobSpec.model_validate(SPEC), "spleeter-2stems"))
NAME = resource_name(TRACK)
CRM = "https://crm.example.com/hook"


@pytest.fixture
def home(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def create(place: World, *, owner: str | None = None, **spec: Any) -> None:
    labels = {LABEL_TRACK: TRACK} | ({LABEL_OWNER: owner} if owner else {})
    body = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": NAME, "labels": labels},
        "spec": {**SPEC, **spec},
    }
    place.plane.api.post(place.path("separationjobs"), body)


def test_a_tenant_takes_over_no_track_and_speaks_for_no_key(home: World) -> None:
    tenant = second_namespace(home)
    bind(home.plane, tenant.namespace, home.namespace)
    endpoints = home.folder / "endpoints.yaml"
    endpoints.write_text(yaml.safe_dump({"endpoints": [{"name": "crm", "url": CRM, "keys": ["team-a"]}]}))
    watched = {"WATCH_NAMESPACES": f"{home.namespace},{tenant.namespace}", "API_NAMESPACE": home.namespace}
    with home.operating(**watched, WEBHOOK_ENDPOINTS_FILE=str(endpoints)):
        create(home)
        home.separate(NAME)
        redis = home.redis()
        record = redis.get(home.keys.record(TRACK))
        create(tenant, owner="team-a", source={"url": "https://evil.example/a.mp3"}, claims=[{"key": "team-a"}])
        tenant.separate(NAME)
        own = home.keys.record(f"{tenant.namespace}.{NAME}")
        eventually(lambda: json.loads(redis.get(own) or "{}").get("phase") == "Completed")
    mirrored = json.loads(redis.get(own) or "{}")
    assert (mirrored.get("claims", []), mirrored.get("owner")) == ([], None)
    assert redis.get(home.keys.record(TRACK)) == record
    status = tenant.plane.api.get(tenant.path("separationjobs", NAME))["status"]
    assert status["trackId"] == f"{tenant.namespace}.{NAME}"
    assert status.get("webhooks", []) == []
    assert all(key.split("/")[2] != TRACK for key in home.objects("stems") if tenant.namespace in key)
