"""Turns at the engine: one song at a time, in the order of their leases."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from stemyard_separator.engines.protocol import MixStatistics, Samples, SeparationEngine, StemBlock
from stemyard_separator.stages.model_loading import Loading

_LOOK_SECONDS: Final = 1.0


class Turns:
    """Who may use the engine.

    A turn ends with the engine's last block: encoding and uploads of a song go on beside the next. `on_change` is
    called when a turn begins or ends.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._changed = threading.Condition()
        self._waiting: list[Turn] = []

    def ticket(self, engine: Loading) -> "Turn":
        """Return a turn behind all those that there are."""
        with self._changed:
            turn = Turn(self, engine)
            self._waiting.append(turn)
            return turn

    @property
    def waiting(self) -> int:
        """Number of songs that have not begun."""
        with self._changed:
            return sum(not turn.has_begun for turn in self._waiting)

    @property
    def is_free(self) -> bool:
        """Whether no song uses the engine or waits for it."""
        with self._changed:
            return not self._waiting

    def begin(self, turn: "Turn") -> None:
        """Wait until it is this turn's time."""
        with self._changed:
            while self._waiting[0] is not turn:
                self._changed.wait(_LOOK_SECONDS)
                turn.check()
            turn.has_begun = True
        self._on_change()

    def end(self, turn: "Turn") -> None:
        """End a turn, or give it up; it may have ended already."""
        with self._changed:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._changed.notify_all()
        self._on_change()


class Turn:
    """One song's turn: an engine that is loaded when it is this song's time."""

    def __init__(self, turns: Turns, engine: Loading) -> None:
        self._turns, self._engine = turns, engine
        self.has_begun = False
        self.check: Callable[[], None] = _nothing
        """Raises if the song is not to be separated any more; called while it waits."""

    def result(self) -> SeparationEngine:
        """Wait for the turn; raises what loading the engine raised."""
        self._turns.begin(self)
        return _OwnTurn(self._engine.result(), self)

    def end(self) -> None:
        """End the turn, or give it up."""
        self._turns.end(self)


def _nothing() -> None:
    pass


class _OwnTurn:
    """The engine for one song."""

    def __init__(self, engine: SeparationEngine, turn: Turn) -> None:
        self._engine, self._turn = engine, turn

    @property
    def name(self) -> str:
        """As the engine's."""
        return self._engine.name

    @property
    def digest(self) -> str:
        """As the engine's."""
        return self._engine.digest

    @property
    def device(self) -> str:
        """As the engine's."""
        return self._engine.device

    @property
    def versions(self) -> dict[str, str]:
        """As the engine's."""
        return self._engine.versions

    @property
    def parameters(self) -> dict[str, float | str]:
        """As the engine's."""
        return self._engine.parameters

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """Separate as the engine does; the turn ends after the last block."""
        yield from self._engine.separate(mix, statistics)
        self._turn.end()
