"""Which tracks a key sees, lists and may change."""

import pytest

from stemyard_api.auth.api_keys import Principal, Scope
from stemyard_api.auth.authorization import belongs, check_changeable, listed, namespace_visible, visible
from stemyard_api.errors import ForbiddenError, TrackNotFoundError
from stemyard_contract.mirror import MirrorRecord
from tests.api import tracks

READ = frozenset({Scope.READ})
TEAM = Principal("team-a", READ)
TENANT = Principal("tenant", READ, namespaces=frozenset({"songs", "other"}))
BOSS = Principal("boss", frozenset({Scope.ADMIN}))


def by_hand(namespace: str, name: str = "demo", **changes: object) -> MirrorRecord:
    return tracks.record(track_id=f"{namespace}.{name}", namespace=namespace, name=name, **changes)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("record", "principal", "seen"),
    [
        (by_hand("songs"), TENANT, True),
        (by_hand("songs", "a.b"), TENANT, True),
        (by_hand("song", "s.demo"), TENANT, False),
        (by_hand("songs-2"), TENANT, False),
        (by_hand("stemyard"), TENANT, False),
        (by_hand("songs"), TEAM, False),
        (by_hand("songs"), BOSS, True),
        # a claim or owner that a tenant writes gives nobody anything
        (by_hand("songs", claims=["team-a"], owner="team-a"), TEAM, False),
    ],
)
def test_tracks_of_kubectl_users_are_for_admins_and_keys_of_the_namespace(
    record: MirrorRecord, principal: Principal, seen: bool, shared: bool
) -> None:
    assert visible(record, principal, shared=shared) is seen
    assert namespace_visible(record.track_id, principal) is seen
    assert listed(record, principal) is (seen and not principal.is_admin)
    if not seen:
        with pytest.raises(TrackNotFoundError):
            check_changeable(record, principal, shared=shared)


def test_a_namespace_gives_no_right_to_change() -> None:
    with pytest.raises(ForbiddenError):
        check_changeable(by_hand("songs"), TENANT, shared=True)
    check_changeable(by_hand("songs"), BOSS, shared=True)


def test_a_namespace_says_nothing_on_tracks_requested_here() -> None:
    record = tracks.record(claims=["team-a"])
    api_tenant = Principal("tenant", READ, namespaces=frozenset({record.namespace}))
    assert visible(record, api_tenant, shared=True)
    assert not visible(record, api_tenant, shared=False)
    assert not listed(record, api_tenant)
    assert listed(record, TEAM)
    assert belongs(record, TEAM)
    assert namespace_visible(record.track_id, api_tenant)
