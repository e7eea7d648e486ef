"""Steps in parallel and in sequence."""

import threading

import pytest

from localcluster.errors import CommandFailedError
from localcluster.steps import run_parallel, sequence


def test_steps_really_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    run_parallel(meeting.wait, meeting.wait)


def test_an_error_is_raised_after_the_others_are_done() -> None:
    failed, done = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise CommandFailedError("no network")

    def finish() -> None:
        assert failed.wait(10)
        done.set()

    with pytest.raises(CommandFailedError, match="no network"):
        run_parallel(fail, finish)
    assert done.is_set()


def test_steps_sequence_keep_their_order_and_stop_at_the_first_error() -> None:
    seen: list[int] = []

    def fail() -> None:
        raise CommandFailedError("x")

    with pytest.raises(CommandFailedError):
        sequence(lambda: seen.append(1), lambda: seen.append(2), fail, lambda: seen.append(3))()
    assert seen == [1, 2]
