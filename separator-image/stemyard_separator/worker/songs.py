"""The songs that a worker holds: each runs in a thread of its own, and takes its turn at the engine."""

import threading
import time
from collections.abc import Callable
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Assignment, LeasedSeparation, Outcome
from stemyard_contract.leasing import PUBLISHING_LIMIT, SongEnd
from stemyard_separator.http import HttpClient
from stemyard_separator.logs import log, log_with
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.model_loading import Loading
from stemyard_separator.stages.runner import StageOptions, run_stage
from stemyard_separator.transfer.deadline import StageDeadline
from stemyard_separator.transfer.desk import DeskClient
from stemyard_separator.worker.turns import Turn, Turns

_MARGIN_SECONDS: Final = 15.0
HEARTBEAT_SECONDS: Final = 3.0
"""A song that waits for its turn learns so soon that it is not held any more."""
_BROKEN: Final = frozenset({FailureCode.DEVICE_UNAVAILABLE, FailureCode.MODEL_MISSING, FailureCode.MODEL_CORRUPT})
"""Failures after which the engine is of no use to any song: it was not loaded, or the GPU's context is lost."""


def publishing_limit(cores: int, stems: int) -> int:
    """Return how many songs are published at a time: as many as have a core for each stem's encoder, at least one."""
    return max(1, min(PUBLISHING_LIMIT, cores // stems))


class Songs:
    """What the worker holds, and what has ended but is not acknowledged by the desk.

    Args:
        settings: settings of the process.
        engine: the engine, being loaded.
        publishing: songs that are encoded and uploaded at a time, beside the one at the engine.
        on_change: called when a song ends, or its turn begins or ends; from another thread.
    """

    def __init__(
        self, settings: SeparatorSettings, engine: Loading, publishing: int, on_change: Callable[[], None]
    ) -> None:
        self._settings, self._engine, self._publishing, self._on_change = settings, engine, publishing, on_change
        self._turns = Turns(on_change)
        self._http = HttpClient(ca_dir=settings.ca_dir)
        self._lock = threading.Lock()
        self._held: dict[str, Assignment] = {}
        self._ended: list[SongEnd] = []
        self.broken: Outcome | None = None
        """Outcome of the song that found the engine to be of no use."""

    @property
    def holding(self) -> list[str]:
        """uids of the SeparationJobs that are held."""
        with self._lock:
            return list(self._held)

    @property
    def ended(self) -> list[SongEnd]:
        """Ends to be reported."""
        with self._lock:
            return list(self._ended)

    def acknowledged(self, ends: list[SongEnd]) -> None:
        """Forget ends that the desk has recorded."""
        with self._lock:
            self._ended = [end for end in self._ended if end not in ends]

    def has_room(self, prefetch: int) -> bool:
        """Return whether another song is wanted: the engine is free, or fewer than `prefetch` wait for it.

        Besides those, one may be at the engine and some being published, which bounds memory and disk.
        """
        room = self._turns.is_free or self._turns.waiting < prefetch
        return room and len(self.holding) < prefetch + 1 + self._publishing

    def start(self, song: Assignment) -> None:
        """Separate a song when it is its turn; download it until then."""
        with self._lock:
            self._held[song.uid] = song
        turn = self._turns.ticket(self._engine)
        # a daemon: a worker whose engine is of no use ends at once
        threading.Thread(target=self._run, args=(song, turn), name=f"song {song.name}"[:15], daemon=True).start()

    def _run(self, song: Assignment, turn: Turn) -> None:
        log_with(stage=song.stage, track_id=song.track_id, run=song.run)
        begun = time.monotonic()
        deadline = StageDeadline(begun + song.deadline_seconds - min(_MARGIN_SECONDS, song.deadline_seconds / 10))
        leased = LeasedSeparation(name=song.name, uid=song.uid)
        desk = DeskClient(song.desk_url, self._settings.token_path, self._http, deadline, leased)
        turn.check = desk.check_held
        options = StageOptions(self._http, deadline, desk, HEARTBEAT_SECONDS, lambda: time.monotonic() - begun)
        try:
            outcome = run_stage(song, self._settings, turn, options)
        finally:
            turn.end()
        self._end(song, outcome)

    def _end(self, song: Assignment, outcome: Outcome) -> None:
        with self._lock:
            del self._held[song.uid]
            if outcome.code is FailureCode.CANCELLED:
                log("song dropped")
            elif self.broken is None:
                self._ended.append(SongEnd(uid=song.uid, run=song.run, outcome=outcome))
                self.broken = outcome if outcome.code in _BROKEN else None
        self._on_change()
