"""Who may start a Job now: limits, whole and by namespace; among those that wait, by priority, then by age."""

import bisect
from collections import Counter
from dataclasses import dataclass

from stemyard_contract.handover import WorkStage
from stemyard_operator.observed import Separation
from stemyard_operator.projection import Key, Projection
from stemyard_operator.settings import Settings


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    urgency: int
    created: float
    uid: str
    namespace: str
    name: str


class Slots:
    """Places for Jobs. The projection tells which are taken; a claim bridges the time until it knows the new Job."""

    def __init__(self, projection: Projection, settings: Settings) -> None:
        self._projection = projection
        self._limits = {WorkStage.FETCH: settings.max_active_fetch, WorkStage.SEPARATE: settings.max_active}
        self._namespace_limit = settings.namespace_limit
        self._line: dict[WorkStage, list[_Place]] = {stage: [] for stage in WorkStage}
        self._places: dict[str, tuple[WorkStage, _Place]] = {}
        self._claims: dict[str, tuple[WorkStage, str]] = {}

    def room(self, separation: Separation) -> frozenset[WorkStage]:
        """Return the stages that this separation may start a Job of, being its turn."""
        return frozenset(stage for stage in WorkStage if self._its_turn(separation, stage))

    def claim(self, separation: Separation, stage: WorkStage) -> bool:
        """Take a place until `release`, unless it was taken meanwhile."""
        if not self._its_turn(separation, stage):
            return False
        self._claims[separation.uid] = (stage, separation.namespace)
        self.leave(separation.uid)
        return True

    def release(self, uid: str) -> None:
        """Give the claim back: the Job is in the projection by now, or was not made."""
        self._claims.pop(uid, None)

    def wait(self, separation: Separation, stage: WorkStage) -> None:
        """Stand in line for a stage."""
        place = _place(separation)
        if self._places.get(separation.uid) == (stage, place):
            return
        self.leave(separation.uid)
        self._places[separation.uid] = (stage, place)
        bisect.insort(self._line[stage], place)

    def leave(self, uid: str) -> None:
        """Leave the line."""
        known = self._places.pop(uid, None)
        if known is not None:
            line = self._line[known[0]]
            del line[bisect.bisect_left(line, known[1])]

    def next_in_line(self, stage: WorkStage) -> list[Key]:
        """Return those who may start a Job of this stage now."""
        free, taken = self._free(stage)
        found: list[Key] = []
        for place in self._line[stage]:
            if len(found) >= free:
                break
            if self._fits(stage, taken, place.namespace):
                found.append((place.namespace, place.name))
                taken[place.namespace] += 1
        return found

    def _its_turn(self, separation: Separation, stage: WorkStage) -> bool:
        free, taken = self._free(stage, but=separation.uid)
        own = _place(separation)
        for place in self._line[stage]:
            if free <= 0 or place >= own:
                break
            if self._fits(stage, taken, place.namespace):
                free -= 1
                taken[place.namespace] += 1
        return free > 0 and self._fits(stage, taken, separation.namespace)

    def _fits(self, stage: WorkStage, taken: Counter[str], namespace: str) -> bool:
        return stage is WorkStage.FETCH or taken[namespace] < self._namespace_limit

    def _free(self, stage: WorkStage, but: str = "") -> tuple[int, Counter[str]]:
        taken = Counter(job.namespace for job in self._projection.live(stage))
        taken.update(namespace for uid, (claimed, namespace) in self._claims.items() if claimed is stage and uid != but)
        return self._limits[stage] - taken.total(), taken


def _place(separation: Separation) -> _Place:
    created = separation.created.timestamp()
    return _Place(-separation.spec.priority, created, separation.uid, separation.namespace, separation.name)
