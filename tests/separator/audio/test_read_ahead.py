"""Reading ahead: order, bound, failures and the end of the thread."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from stemyard_separator.audio.read_ahead import ReadAhead
from stemyard_separator.engines.protocol import Samples


def blocks(number: int) -> Iterator[Samples]:
    for value in range(number):
        yield np.full((2, 10), value, np.float32)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


@pytest.mark.parametrize("number", [0, 1, 16, 1000])
def test_all_blocks_arrive_in_order(number: int) -> None:
    with ReadAhead(blocks(number)) as ahead:
        assert [block[0, 0] for block in ahead] == list(range(number))


def test_a_bounded_number_is_read_before_the_first_is_wanted() -> None:
    read: list[Samples] = []
    begun = threading.Semaphore(0)

    def counted() -> Iterator[Samples]:
        for block in blocks(10_000):
            read.append(block)
            begun.release()
            yield block

    with ReadAhead(counted()) as ahead:
        for _ in range(300):
            assert begun.acquire(timeout=60)
        assert len(read) < 500
        assert len(list(ahead)) == 10_000


def test_what_reading_raises_is_raised_after_what_was_read() -> None:
    def broken() -> Iterator[Samples]:
        yield from blocks(32)
        raise ValueError("damaged")

    seen: list[Samples] = []
    with ReadAhead(broken()) as ahead, pytest.raises(ValueError, match="damaged"):
        seen.extend(ahead)
    assert len(seen) == 32


def test_the_thread_ends_with_the_context() -> None:
    before = readers()
    with ReadAhead(blocks(10_000)) as ahead:
        next(iter(ahead))
        (own,) = (thread for thread in readers() if thread not in before)
    own.join(timeout=60)
    assert not own.is_alive()
