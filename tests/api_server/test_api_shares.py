"""Share links with a real API server: revoking is recorded in the SeparationJob and outlives Redis."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.separationjob import ANNOTATION_SHARES_REVOKED
from tests.support.api_world import World, published, world


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("world"), RATE_LIMIT_ANONYMOUS_PER_MINUTE="0") as found:
        yield found


def finished(running: World, client: httpx.Client, query: str, *, mirrored: bool = True) -> str:
    track = str(client.post("/separate-audio", json={"search_query": query}).json()["track_id"])
    running.report(track, published(track=track), mirrored=mirrored)
    return track


def token_of(client: httpx.Client, track: str) -> str:
    response = client.post(f"/job/{track}/share")
    assert response.status_code == 200, response.text
    return str(response.json()["token"])


def answers(running: World, token: str) -> list[tuple[int, str | None]]:
    """What each process answers to somebody without a key."""
    found = [httpx.get(f"{api.url}/share/{token}", timeout=30.0) for api in running.apis]
    return [(one.status_code, one.json().get("code")) for one in found]


OPEN = [(200, None)] * 2
ENDED = [(410, "SHARE_ENDED")] * 2


@pytest.mark.parametrize("mirrored", [True, False])
def test_revoking_ends_all_links_at_once_and_for_good(running: World, *, mirrored: bool) -> None:
    with running.client("team-a") as client:
        track = finished(running, client, f"Song {uuid.uuid4()}", mirrored=mirrored)
        tokens = [token_of(client, track) for _ in range(2)]
        assert [answers(running, token) for token in tokens] == [OPEN, OPEN]
        assert client.delete(f"/job/{track}/share").json() == {"track_id": track, "revoked": True}
        assert [answers(running, token) for token in tokens] == [ENDED, ENDED]
        assert running.resource(track)["metadata"]["annotations"][ANNOTATION_SHARES_REVOKED].isdigit()
        later = token_of(client, track)
        assert answers(running, later) == OPEN
        running.forget()
        assert (answers(running, tokens[0]), answers(running, later)) == (ENDED, OPEN)


def test_a_track_that_is_deleted_and_requested_again_is_not_shared(running: World) -> None:
    with running.client("team-a") as client:
        query = f"Song {uuid.uuid4()}"
        track = finished(running, client, query)
        token = token_of(client, track)
        assert client.delete(f"/job/{track}").json()["deleted"]
        assert answers(running, token) == ENDED
        running.drop(track)
        assert finished(running, client, query) == track
        assert answers(running, token) == ENDED


def test_only_a_key_with_a_claim_revokes(running: World) -> None:
    with running.client("team-a") as client, running.client("team-b") as other, running.client("reader") as reader:
        track = finished(running, client, f"Song {uuid.uuid4()}")
        token = token_of(other, track)  # results are shared, so it may see the track
        assert other.delete(f"/job/{track}/share").status_code == 403
        assert reader.delete(f"/job/{track}/share").status_code == 403
        assert client.delete(f"/job/{uuid.uuid4()}/share").status_code == 404
        assert answers(running, token) == OPEN
        with running.client("boss") as admin:
            assert admin.delete(f"/job/{track}/share").status_code == 200
        assert answers(running, token) == ENDED
