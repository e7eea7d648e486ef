"""The app in this process, with all backends unreachable."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml
from fastapi import FastAPI

from localcluster.control_plane import free_port
from stemyard_api.app import create_app
from tests.api.settings_for_tests import KEY, settings


def kubeconfig_to_nowhere(folder: Path) -> tuple[str, Path]:
    """Return a URL without a server, and a kubeconfig that names it."""
    url = f"http://127.0.0.1:{free_port()}"
    named = [{"name": "nowhere", "cluster": {"server": url}}]
    context = [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}]
    users = [{"name": "nobody", "user": {"token": "none"}}]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump({"clusters": named, "contexts": context, "users": users, "current-context": "nowhere"})
    )
    return url, kubeconfig


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL without a server, also named by KUBECONFIG."""
    url, kubeconfig = kubeconfig_to_nowhere(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    return url


@pytest.fixture
async def app(nowhere: str) -> AsyncIterator[FastAPI]:
    made = create_app(
        settings(
            redis_url=nowhere.replace("http", "redis"),
            s3_endpoint_url=nowhere,
            r2_access_key_id="access",
            r2_secret_access_key="secret",
            s3_region="us-east-1",
        )
    )
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://stemyard") as client:
        yield client


@pytest.fixture
async def client(anonymous: httpx.AsyncClient) -> httpx.AsyncClient:
    anonymous.headers["X-API-Key"] = KEY
    return anonymous
