"""Turns at the engine: their order, and that a turn ends with the network's last block."""

import threading
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from stemyard_contract.findings import Stem
from stemyard_contract.leasing import PUBLISHING_LIMIT
from stemyard_separator.engines.protocol import MixStatistics, Samples, SeparationEngine, StemBlock
from stemyard_separator.errors import LeaseLostError
from stemyard_separator.worker.songs import publishing_limit
from stemyard_separator.worker.turns import Turns

ONE = MixStatistics(10, 0.0, 1.0)


class Halves:
    """A loaded engine."""

    name, digest, device = "halves", "sha256:0", "cpu"
    versions: dict[str, str] = {}  # noqa: RUF012 - read only
    parameters: dict[str, float | str] = {}  # noqa: RUF012 - read only

    def result(self) -> SeparationEngine:
        return self

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        for block in mix:
            yield {Stem.VOCALS: block * 0.5, Stem.INSTRUMENTAL: block * 0.5}


def blocks() -> list[Samples]:
    return [np.ones((2, 10), np.float32)] * 2


def test_a_turn_ends_with_the_last_block_and_not_with_what_is_done_with_it() -> None:
    turns = Turns(lambda: None)
    first, second = turns.ticket(Halves()), turns.ticket(Halves())
    began = threading.Event()

    def wait() -> None:
        second.result()
        began.set()

    thread = threading.Thread(target=wait, daemon=True)
    separated = first.result().separate(blocks(), ONE)
    thread.start()
    next(separated)
    assert turns.waiting == 1
    assert len(list(separated)) == 1

    assert began.wait(60), "the second song is at the engine while the first is encoded"
    assert turns.waiting == 0
    assert not turns.is_free
    first.end()
    second.end()
    assert turns.is_free


def test_a_song_that_is_lost_while_it_waits_gives_its_turn_up() -> None:
    turns = Turns(lambda: None)
    first, second, third = (turns.ticket(Halves()) for _ in range(3))
    first.result()

    def lost() -> None:
        raise LeaseLostError

    second.check = lost
    with pytest.raises(LeaseLostError):
        second.result()
    second.end()
    first.end()
    assert third.result().name == "halves"


@pytest.mark.parametrize(("cores", "stems", "songs"), [(1, 2, 1), (2, 2, 1), (4, 2, 2), (8, 4, 2), (64, 2, None)])
def test_as_many_songs_are_published_as_have_cores(cores: int, stems: int, songs: int | None) -> None:
    assert publishing_limit(cores, stems) == (songs or PUBLISHING_LIMIT)
