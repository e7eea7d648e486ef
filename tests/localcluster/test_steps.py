"""Steps that run at once."""

import threading

import pytest

from localcluster.errors import CommandFailedError
from localcluster.steps import in_turn, together


def test_steps_really_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    together(meeting.wait, meeting.wait)


def test_an_error_is_raised_after_the_others_are_done() -> None:
    failed, done = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise CommandFailedError("no network")

    def finish() -> None:
        assert failed.wait(10)
        done.set()

    with pytest.raises(CommandFailedError, match="no network"):
        together(fail, finish)
    assert done.is_set()


def test_steps_in_turn_keep_their_order_and_stop_at_the_first_error() -> None:
    seen: list[int] = []

    def fail() -> None:
        raise CommandFailedError("x")

    with pytest.raises(CommandFailedError):
        in_turn(lambda: seen.append(1), lambda: seen.append(2), fail, lambda: seen.append(3))()
    assert seen == [1, 2]
