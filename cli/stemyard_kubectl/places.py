"""Places in the queue: the order in which the operator gives slots to what waits in a namespace."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from stemyard_contract.separationjob import Phase
from stemyard_kubectl.separations import Separation

_STAGES: Final = {None: 0, Phase.PENDING: 0, Phase.QUEUED: 1}


def waiting(separations: Iterable[Separation]) -> list[Separation]:
    """Return what waits, by namespace, and in each what waits for separation first, then what waits to be fetched."""
    return sorted(
        (one for one in separations if one.waits), key=lambda one: (one.namespace, -_STAGES[one.phase], *one.order)
    )


def places(separations: Sequence[Separation]) -> dict[tuple[str, str], int]:
    """Return the place of each that waits, by namespace and name: among those that wait for the same in its namespace.

    The operator gives slots by priority, then age. It goes on to the next where one cannot have its slot, and shares
    slots among namespaces, so that a place is no promise.
    """
    count: defaultdict[tuple[str, int], int] = defaultdict(int)
    found: dict[tuple[str, str], int] = {}
    for one in waiting(separations):
        line = (one.namespace, _STAGES[one.phase])
        count[line] += 1
        found[one.namespace, one.name] = count[line]
    return found
