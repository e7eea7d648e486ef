"""The clip is separated through clients that others' generators made of the OpenAPI document, one of each language."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.conftest import System
from tests.cluster.separations import follow, submit
from tests.support import generated_clients
from tests.support.audio import CLIP, RATE, read
from tests.support.generated_clients import Target


@pytest.fixture(scope="module")
def target(system: System, tmp_path_factory: pytest.TempPathFactory) -> Target:
    service = system.service
    document = tmp_path_factory.mktemp("document") / "openapi.json"
    document.write_bytes(httpx.get(f"{service.url}/openapi.json", timeout=10).raise_for_status().content)
    completed, failed = (ended(system, query) for query in ("a completed song", "zero hits"))
    assert (completed["status"], failed["status"]) == ("completed", "failed")
    return Target(document, service.url, service.api_key, completed["track_id"], failed["track_id"])


def ended(system: System, query: str) -> dict[str, Any]:
    """Return the last state of the track of a query."""
    return state_of(system, submit(system.service, {"search_query": query})["track_id"])


def state_of(system: System, track: str) -> dict[str, Any]:
    *_, last = follow(system.service, track, 300)
    return last


@pytest.mark.parametrize(
    "use",
    [
        generated_clients.openapi_python_client,
        generated_clients.openapi_typescript,
        generated_clients.oapi_codegen,
        generated_clients.java_of_openapi_generator,
        generated_clients.rust_of_openapi_generator,
    ],
    ids=lambda use: use.__name__,
)
def test_a_generated_client_separates_the_clip(
    system: System, target: Target, tmp_path: Path, use: Callable[[Target, Path], str]
) -> None:
    last = state_of(system, use(target, tmp_path))
    assert last["status"] == "completed", last
    vocals = tmp_path / "vocals.flac"
    vocals.write_bytes(httpx.get(last["result"]["vocals_url"], timeout=30).raise_for_status().content)
    assert abs(read(vocals).shape[1] - read(CLIP).shape[1]) < RATE // 10
