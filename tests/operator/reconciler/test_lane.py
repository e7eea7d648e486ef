"""A lane lets in so many keys at a time; the others are requeued when there is a place."""

import pytest

from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.reconciler.lane import Lane, LaneFullError

A, B, C, D = (("music", name) for name in "abcd")


@pytest.fixture
def requeued() -> list[Key]:
    return []


@pytest.fixture
def lane(requeued: list[Key]) -> Lane:
    return Lane(2, requeued.append)


def enters(lane: Lane, key: Key) -> bool:
    try:
        lane.enter(key)
    except LaneFullError:
        return False
    return True


def test_so_many_are_let_in_and_each_of_them_again(lane: Lane) -> None:
    assert [enters(lane, key) for key in (A, B, A, C)] == [True, True, True, False]
    assert lane.waiting == 1


def test_who_waits_is_requeued_in_order_when_a_place_is_free(lane: Lane, requeued: list[Key]) -> None:
    for key in (A, B, C, D, C):
        enters(lane, key)
    lane.leave(A)
    assert requeued == [C]
    assert enters(lane, C)
    lane.leave(B)
    assert requeued == [C, D]


def test_who_was_requeued_and_needs_no_place_passes_it_on(lane: Lane, requeued: list[Key]) -> None:
    for key in (A, B, C, D):
        enters(lane, key)
    lane.leave(A)
    lane.leave(C)
    assert requeued == [C, D]


def test_leaving_without_a_place_changes_nothing(lane: Lane, requeued: list[Key]) -> None:
    for key in (A, B, C):
        enters(lane, key)
    lane.leave(C)
    assert requeued == []
    assert not enters(lane, C)
