"""Weights on a volume: the chart's Job brings them there, from the image and from a host, and separations take them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from charts.helm import merge
from charts.install import install
from tests.cluster.conftest import MEDIA_PORT, System
from tests.cluster.separations import separate
from tests.cluster.test_release import release_of

CACHE = {
    "enabled": True,
    "size": "1Gi",
    # What every kind of cluster can give; pods of several nodes would need ReadWriteMany.
    "accessMode": "ReadWriteOnce",
    "extraEgress": [{"ports": [{"protocol": "TCP", "port": MEDIA_PORT}]}],
}


@pytest.fixture
def cached(system: System) -> Iterator[System]:
    """The system with a cache for two models, of which only one is in the image."""
    release = release_of(system)
    models = {
        "enabled": ["spleeter-2stems", "htdemucs"],
        "cache": {**CACHE, "host": system.media_url},
    }
    try:
        install(replace(release, values=merge(release.values, {"models": models})), print, timeout=300)
        yield system
    finally:
        install(release, print, timeout=300)


def items(system: System, kind: str, selector: str) -> list[dict[str, Any]]:
    return list(json.loads(system.kubectl("get", kind, "-l", selector, "-o", "json"))["items"])


def test_the_cache_is_filled_and_separations_take_their_weights_from_it(cached: System) -> None:
    [job] = items(cached, "jobs", "app.kubernetes.io/component=models")
    name = job["metadata"]["name"]
    cached.kubectl("wait", "--for=condition=Complete", "--timeout=300s", f"job/{name}")
    said = cached.kubectl("logs", f"job/{name}", "--all-containers")
    assert "spleeter-2stems: taken from /models" in said
    assert said.count(" ok, ") == 2, said
    state = separate(cached.service, {"url": cached.take("cached-weights")})
    selector = f"stemyard.dev/track-id={state['track_id']},stemyard.dev/stage=separate"
    [pod] = items(cached, "pods", selector)
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "models"]
    [claim] = items(cached, "persistentvolumeclaims", "app.kubernetes.io/component=models")
    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"], "readOnly": True}
    # the folder of the image, which has the weights as well, is below the volume
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in pod["spec"]["containers"][0]["volumeMounts"]
