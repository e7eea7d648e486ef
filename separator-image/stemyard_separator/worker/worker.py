"""The loop of a worker: requests songs while it has room, reports their ends, and ends at its bounds."""

import threading
import time
from typing import Final

from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.leasing import LeaseRequest, WorkerAssignment
from stemyard_separator.http import HttpClient, HttpError, backoff
from stemyard_separator.logs import log
from stemyard_separator.process import available_cores
from stemyard_separator.settings import SeparatorSettings
from stemyard_separator.stages.model_loading import Loading
from stemyard_separator.stages.timings import process_age
from stemyard_separator.worker.lease_client import LeaseClient, NoMoreSongsError
from stemyard_separator.worker.songs import Songs, publishing_limit

_LOOK_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 5.0
_FIRST_PAUSE: Final = 0.1
_LAST_REPORT_SECONDS: Final = 10.0
"""How long the last report is tried for when the engine is of no use any more."""


class Worker:
    """Separates songs until its bounds are reached or none has come for a while.

    Args:
        assignment: the engine, and the bounds.
        settings: settings of the process.
        engine: the engine, being loaded.
    """

    def __init__(self, assignment: WorkerAssignment, settings: SeparatorSettings, engine: Loading) -> None:
        self._assignment = assignment
        self._client = LeaseClient(assignment.desk_url, settings.token_path, HttpClient(ca_dir=settings.ca_dir))
        self._changed = threading.Event()
        publishing = publishing_limit(available_cores(), len(assignment.stems))
        self._songs = Songs(settings, engine, publishing, self._changed.set)
        self._begun = time.monotonic() - process_age()
        self._idle_since = time.monotonic()
        self._idle_reported = time.monotonic()
        self._leased = 0
        self._failures = 0
        self._empty_answers = 0
        """Answers without a song since the worker held one."""
        self._refused = False

    def run(self) -> Outcome:
        """Work; return what ended it: no code, or why the engine is of no use."""
        while self._songs.broken is None and not self._is_done():
            self._changed.clear()
            wanted = self._is_wanted()
            if wanted or self._songs.ended:
                self._ask(wanted=wanted)
            else:
                self._changed.wait(_LOOK_SECONDS)
        if self._songs.broken is None:
            log("worker ends", songs=self._leased, seconds=round(process_age()))
            return Outcome(stage=WorkStage.SEPARATE)
        self._report_last()
        log("worker ends, its engine is of no use", code=self._songs.broken.code, songs=self._leased)
        return self._songs.broken.model_copy(update={"mark": None})

    def _is_wanted(self) -> bool:
        over = self._leased >= self._assignment.songs or time.monotonic() - self._begun >= self._assignment.max_seconds
        return not self._refused and not over and self._songs.has_room(self._assignment.prefetch)

    def _is_done(self) -> bool:
        """Return whether there is nothing left to do. While the desk does not answer, the worker waits for it."""
        if self._songs.holding:
            self._idle_since, self._empty_answers = time.monotonic(), 0
            return False
        over = time.monotonic() - self._begun >= self._assignment.max_seconds
        if self._songs.ended and not (over and self._failures):
            return False
        waited = time.monotonic() - self._idle_since >= self._assignment.idle_seconds
        idle = waited and self._empty_answers > 0 and not self._failures
        return idle or over or self._refused or self._leased >= self._assignment.songs

    def _ask(self, *, wanted: bool) -> None:
        """Ask for a song, or only report."""
        ends, now = self._songs.ended, time.monotonic()
        idle = now - max(self._idle_since, self._idle_reported) if self._leased and not self._songs.holding else 0.0
        request = LeaseRequest(
            shape=self._assignment.shape,
            wanted=wanted,
            holding=self._songs.holding,
            ended=ends,
            starting_seconds=None if self._leased else round(process_age(), 3),
            idle_seconds=round(idle, 3),
        )
        try:
            song = self._client.ask(request)
        except HttpError as error:
            self._wait_for_desk(error)
            return
        except NoMoreSongsError as error:
            log("the desk leases no more songs", reason=str(error))
            self._refused = True
            self._songs.acknowledged(ends)
            return
        self._failures, self._idle_reported = 0, now
        self._songs.acknowledged(ends)
        self._empty_answers += wanted and song is None
        if song is not None:
            self._leased += 1
            log("song leased", track_id=song.track_id, run=song.run)
            self._songs.start(song)

    def _wait_for_desk(self, error: HttpError) -> None:
        if not self._failures:
            log("waiting for the desk", reason=str(error))
        time.sleep(backoff(self._failures, _LONGEST_PAUSE, _FIRST_PAUSE))
        self._failures += 1

    def _report_last(self) -> None:
        """Report the ends that are known, for a while: what is not reported is taken for lost with the pod."""
        until = time.monotonic() + _LAST_REPORT_SECONDS
        while self._songs.ended and time.monotonic() < until and not self._refused:
            self._ask(wanted=False)
