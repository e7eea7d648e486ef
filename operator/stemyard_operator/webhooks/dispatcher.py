"""Carries webhooks in the background: a lane for each consumer, so that a dead one delays nobody else."""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from stemyard_contract.address_guard import origin_of
from stemyard_operator.config.webhook_settings import WebhookSettings
from stemyard_operator.decision.webhook_progress import ProgressWebhook
from stemyard_operator.model.attempt_result import AttemptResult

_FAILURES: Final = 5
_FIRST_SECONDS: Final = 1.0
_LANES_KEPT: Final = 1024
"""Consumers whose breaker is remembered while nothing is on its way to them."""
_NEWS_WAITING: Final = 100
"""What may wait for one consumer when another notice comes; one that cannot keep up is told the ends only."""
_AGAIN_SECONDS: Final = 2.0
"""When to look again at a delivery that could not be attempted."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuedDelivery:
    """One delivery to attempt."""

    uid: str
    """Of the SeparationJob."""
    id: str
    url: str


@dataclass(frozen=True, slots=True)
class QueuedProgress:
    """A notice to send while it is news."""

    uid: str
    notice: ProgressWebhook

    @property
    def id(self) -> str:
        """The `webhook-id`."""
        return self.notice.id

    @property
    def url(self) -> str:
        """Where it goes."""
        return self.notice.url


class Breaker:
    """Closed: all may go. Open: none. After a while one goes ahead, and its outcome decides for the others."""

    def __init__(self, longest_seconds: float, clock: Callable[[], float]) -> None:
        self._longest = longest_seconds
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether the consumer is thought to be well."""
        return self._failures < _FAILURES

    @property
    def wait(self) -> float:
        """Seconds until one may go ahead; 0 while it is closed."""
        return 0.0 if self.closed else max(0.0, self._open_until - self._clock())

    def told(self, *, well: bool) -> None:
        """Take in how an attempt went."""
        if well:
            self._failures = 0
            return
        self._failures += 1
        if not self.closed:
            pause = _FIRST_SECONDS * 2.0 ** min(self._failures - _FAILURES, 20)
            self._open_until = self._clock() + min(self._longest, pause)


@dataclass(slots=True)
class _Lane:
    breaker: Breaker
    waiting: deque[QueuedDelivery | QueuedProgress] = field(default_factory=deque)
    running: int = 0
    timer: asyncio.TimerHandle | None = None


class Dispatcher:
    """Takes parcels, keeps what came of them until it is recorded, and says so.

    Nothing here is durable: what a crash loses is still due in the SeparationJob. `send` returns None where there is
    nothing to attempt any more. `on_result` is called with the uid of a SeparationJob that has results to record.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        send: Callable[[QueuedDelivery | QueuedProgress], Awaitable[AttemptResult | None]],
        on_result: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._send = send
        self._on_result = on_result
        self._room = asyncio.Semaphore(settings.webhook_concurrency)
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._in_hand: dict[str, set[str]] = {}
        self._results: dict[str, dict[str, AttemptResult]] = {}
        self._since: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, parcel: QueuedDelivery) -> None:
        """Have a parcel delivered as soon as its consumer's turn allows; one that is in hand already stays so."""
        ids = self._in_hand.setdefault(parcel.uid, set())
        if parcel.id in ids or parcel.id in self._results.get(parcel.uid, {}):
            return
        ids.add(parcel.id)
        lane = self._lane(parcel.url)
        lane.waiting.append(parcel)
        self._pump(lane)

    def tell(self, news: QueuedProgress) -> None:
        """Have a notice sent, once, unless its consumer is left alone or cannot keep up."""
        lane = self._lane(news.url)
        if lane.breaker.closed and len(lane.waiting) < _NEWS_WAITING:
            lane.waiting.append(news)
            self._pump(lane)

    def in_hand(self, uid: str) -> frozenset[str]:
        """Return the ids of what is on its way, or waits for its consumer's turn."""
        return frozenset(self._in_hand.get(uid, ()))

    def results(self, uid: str) -> tuple[AttemptResult, ...]:
        """Return what came of attempts and is not recorded yet."""
        return tuple(self._results.get(uid, {}).values())

    def results_age(self, uid: str) -> float:
        """Return the seconds for which the oldest result has waited."""
        return time.monotonic() - self._since[uid] if uid in self._since else 0.0

    def recorded(self, uid: str, ids: Collection[str]) -> None:
        """Forget results that are stored now."""
        left = {key: value for key, value in self._results.get(uid, {}).items() if key not in ids}
        self._results.pop(uid, None)
        self._since.pop(uid, None)
        if left:
            self._results[uid], self._since[uid] = left, time.monotonic()

    def forget(self, uid: str) -> None:
        """Forget a SeparationJob that is gone; what is on its way to a consumer may still arrive."""
        for store in (self._in_hand, self._results, self._since):
            store.pop(uid, None)

    def lanes(self) -> dict[str, int]:
        """Return how many consumers something waits for, or is on its way to, by the state of their breaker."""
        busy = [lane for lane in self._lanes.values() if lane.running or lane.waiting]
        closed = sum(lane.breaker.closed for lane in busy)
        return {"closed": closed, "open": len(busy) - closed}

    async def close(self) -> None:
        """Stop; attempts under way are broken off and will be made again."""
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(self, url: str) -> _Lane:
        try:
            name = origin_of(url)
        except ValueError:
            name = url
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(Breaker(self._settings.webhook_breaker_seconds, time.monotonic))
            self._drop_idle()
        self._lanes.move_to_end(name)
        return lane

    def _drop_idle(self) -> None:
        idle = [name for name, lane in self._lanes.items() if not lane.running and not lane.waiting]
        for name in idle[: max(0, len(self._lanes) - _LANES_KEPT)]:
            del self._lanes[name]

    def _pump(self, lane: _Lane) -> None:
        """Start as many attempts as the consumer may have now."""
        wait = lane.breaker.wait
        if wait > 0:
            if lane.timer is None and lane.waiting:
                lane.timer = asyncio.get_running_loop().call_later(wait, self._resume, lane)
            return
        most = self._settings.webhook_concurrency_per_target if lane.breaker.closed else 1
        while lane.waiting and lane.running < most:
            lane.running += 1
            task = asyncio.get_running_loop().create_task(self._deliver(lane, lane.waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _resume(self, lane: _Lane) -> None:
        lane.timer = None
        self._pump(lane)

    async def _deliver(self, lane: _Lane, parcel: QueuedDelivery | QueuedProgress) -> None:
        attempted = None
        try:
            if isinstance(parcel, QueuedProgress) or parcel.id in self._in_hand.get(parcel.uid, ()):
                async with self._room:
                    attempted = await self._send(parcel)
        except Exception:  # one broken parcel must not end the lane
            log.exception("a webhook could not be attempted", extra={"uid": parcel.uid, "webhook": parcel.id})
        finally:
            lane.running -= 1
        if attempted is not None:
            lane.breaker.told(well=attempted.answered)
        if isinstance(parcel, QueuedDelivery):
            self._settle(parcel, attempted)
        self._pump(lane)

    def _settle(self, parcel: QueuedDelivery, attempted: AttemptResult | None) -> None:
        ids = self._in_hand.get(parcel.uid)
        if ids is None or parcel.id not in ids:
            return
        ids.discard(parcel.id)
        if not ids:
            del self._in_hand[parcel.uid]
        if attempted is None:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._on_result, parcel.uid)
            return
        first = parcel.uid not in self._results
        self._results.setdefault(parcel.uid, {})[parcel.id] = attempted
        self._since.setdefault(parcel.uid, time.monotonic())
        if first or not ids:
            # whoever hears of the first waits a moment for the others, and need not be told of each
            self._on_result(parcel.uid)
