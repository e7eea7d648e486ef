"""API processes whose bucket takes the temporary credentials of a workload identity only."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from tests.support.api_world import World, world
from tests.support.role_store import RoleStore, environment_of, role_store


@pytest.fixture
def role(tmp_path: Path) -> Iterator[RoleStore]:
    (tmp_path / "role").mkdir()
    with role_store(tmp_path / "role") as found:
        yield found


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path, role: RoleStore) -> Iterator[World]:
    keyless = {"R2_ACCESS_KEY_ID": "", "R2_SECRET_ACCESS_KEY": ""}
    with world(control_plane, tmp_path, **keyless, **environment_of(role)) as found:
        yield found


def test_an_upload_is_taken_and_separated_without_a_key_of_the_bucket(running: World, role: RoleStore) -> None:
    for api in running.apis:
        with api.client() as client:
            asked = {"filename": "song.mp3", "size": 3, "content_type": "audio/mpeg"}
            slot = client.post("/uploads", json=asked).json()
            issued = {one.token for one in role.issued}
            assert parse_qs(urlsplit(slot["url"]).query)["X-Amz-Security-Token"][0] in issued
            assert slot["expires_at"] <= time.time() + 900
            assert httpx.put(slot["url"], content=b"mp3", headers=slot["headers"]).status_code == 200
            submitted = client.post("/separate-audio", json={"upload_id": slot["upload_id"]})
            assert submitted.status_code == 202, submitted.text
    assert role.refused == []
