"""Clients generated from the live OpenAPI document: compiled, and used against two running API processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from tests.api import tracks
from tests.api_server.conftest import install_crd
from tests.support import generated_clients
from tests.support.api_world import World, published, world
from tests.support.generated_clients import Target


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Target]]:
    folder = tmp_path_factory.mktemp("service")
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        install_crd(plane)
        with world(plane, folder, RATE_LIMIT_READS_PER_MINUTE="0") as found:
            api = found.apis[0]
            document = folder / "openapi.json"
            document.write_bytes(httpx.get(f"{api.url}/openapi.json").content)
            completed, failed = (asked(api.url, api.key, f"a {state} song") for state in ("completed", "failed"))
            found.report(completed, published(completed))
            found.report(failed, tracks.status_failed())
            yield found, Target(document, api.url, api.key, completed, failed)


def asked(url: str, key: str, query: str) -> str:
    answer = httpx.post(f"{url}/separate-audio", json={"search_query": query}, headers={"X-API-Key": key}, timeout=30)
    return str(answer.raise_for_status().json()["track_id"])


@pytest.mark.parametrize(
    "use",
    [
        generated_clients.openapi_python_client,
        generated_clients.openapi_typescript,
        generated_clients.oapi_codegen,
        generated_clients.python_of_openapi_generator,
        generated_clients.typescript_of_openapi_generator,
        generated_clients.java_of_openapi_generator,
        generated_clients.rust_of_openapi_generator,
    ],
    ids=lambda use: use.__name__,
)
def test_a_generated_client_works(
    service: tuple[World, Target], tmp_path: Path, use: Callable[[Target, Path], str]
) -> None:
    running, target = service
    spec = running.resource(use(target, tmp_path))["spec"]
    assert spec["output"]["format"] == "flac"
    assert spec["stems"] == ["vocals"]
