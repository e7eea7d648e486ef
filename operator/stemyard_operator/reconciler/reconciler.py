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
from stemyard_operator.errors import OperatorError
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.separation import Separation
from stemyard_operator.reconciler.apply import Applier, DecideAgain
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
    progress: ProgressStore
    observer: Observer
    applier: Applier
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one SeparationJob; return the seconds until the next pass, None to wait for an event.

        Raises:
            OperatorError: the API server or the object store failed; the work queue retries.
        """
        try:
            separation = self.cluster_cache.at(key)
        except ValidationError as error:
            log.error("unknown SeparationJob schema, skipping: %s", error, extra={"key": key})  # noqa: TRY400 - the message says it all
            return None
        if separation is None:
            return None
        run_state = self._run_state(separation)
        try:
            observed, decision = await self._decide(separation, run_state)
            await self.applier.apply(decision, observed, run_state)
        except DecideAgain as again:
            return again.seconds
        return decision.requeue_after

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
        self.progress.forget(separation.uid)
        return RunState(run=separation.spec.run)
