"""One pass over one SeparationJob: observe, decide, apply."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.decide import decide
from stemyard_operator.decision.unreadable import refuse_unreadable
from stemyard_operator.errors import OperatorError
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.separation import Separation
from stemyard_operator.reconciler.apply import Applier, DecideAgain
from stemyard_operator.reconciler.lane import Lane, LaneFullError
from stemyard_operator.reconciler.observer import Answers, Observer
from stemyard_operator.reconciler.run_cache import RunCache, RunState

_ROUNDS: Final = 8
"""Rounds of queries that one decision may take; the longest chain has four."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Idempotent: a crash between any two lines is repaired by the next pass."""

    settings: Settings
    cluster_cache: ClusterCache
    run_cache: RunCache
    observer: Observer
    applier: Applier
    store_lane: Lane
    now: Callable[[], datetime]
    is_known: Callable[[str], bool]
    """Returns whether a namespace can be read; what waits in another is requeued when it can."""

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one SeparationJob; return the seconds until the next pass, None to wait for an event.

        Raises:
            OperatorError: the API server or the object store failed; the work queue retries.
        """
        try:
            separation = self.cluster_cache.at(key)
        except ValidationError as error:
            return await self._refuse(key, error)
        if separation is None:
            return None
        if not self.is_known(key[0]):
            self.applier.limiter.leave(separation.uid)
            return None
        run_state = self._run_state(separation)
        try:
            observed, decision = await self._decide(separation, run_state)
            await self.applier.apply(decision, observed, run_state)
        except DecideAgain as again:
            return again.seconds
        except LaneFullError:
            return None
        finally:
            self.store_lane.leave(key)
        return decision.requeue_after

    async def _refuse(self, key: Key, error: ValidationError) -> float | None:
        """Fail a SeparationJob that cannot be read, unless it is to be left alone."""
        log.error("unknown SeparationJob schema: %s", error, extra={"key": key})
        resource = self.cluster_cache.resource_at(key)
        refused = resource and refuse_unreadable(resource, self.settings.api_namespace, error, self.now())
        if not refused:
            return None
        observed, decision = refused
        try:
            await self.applier.apply(decision, observed, RunState(run=observed.separation.spec.run))
        except DecideAgain as again:
            return again.seconds
        return None

    async def _decide(self, separation: Separation, run_state: RunState) -> tuple[Observed, Decision]:
        """Observe and decide, until the decision has no more queries."""
        answers = Answers()
        for _ in range(_ROUNDS):
            observed = await self.observer.observe(separation, answers, run_state)
            decision = decide(observed, self.now(), self.settings)
            if not decision.queries:
                return observed, decision
            for query in decision.queries:
                await self.observer.answer(query, separation, answers, run_state)
        raise OperatorError(f"no decision about {separation.name} after {_ROUNDS} rounds: {decision.queries}")

    def _run_state(self, separation: Separation) -> RunState:
        if not ended(separation):
            return self.run_cache.of(separation.uid, separation.spec.run, separation.status)
        self.run_cache.forget(separation.uid)
        return RunState(run=separation.spec.run)
