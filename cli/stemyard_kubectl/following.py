"""Follows SeparationJobs to their end, by asking again and again."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from stemyard_kubectl.cluster import Cluster
from stemyard_kubectl.errors import MissingError, UnreachableError
from stemyard_kubectl.separations import Separation

_PAUSE_SECONDS: Final = 1.0
_FAILED_IN_A_ROW: Final = 5
"""Answers that an API server may fail to give, one after the other, as while it is restarted."""
OnChange = Callable[[Separation], object]


def follow(
    cluster: Cluster, names: Sequence[str], on_change: OnChange, timeout_seconds: float | None
) -> dict[str, Separation | None]:
    """Return each SeparationJob once it has ended; None if it was deleted, and the last state of those still at work.

    Args:
        cluster: the cluster.
        names: names of SeparationJobs of its namespace.
        on_change: called with each state.
        timeout_seconds: longest time; None for as long as it takes.

    Raises:
        ClusterError: they cannot be read.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    found: dict[str, Separation | None] = {}
    left, failed = list(names), 0
    while left:
        for name in list(left):
            try:
                one = Separation.of(cluster.separation(name))
            except MissingError:
                found[name] = None
                left.remove(name)
            except UnreachableError:
                failed += 1
                if failed >= _FAILED_IN_A_ROW:
                    raise
            else:
                failed, found[name] = 0, one
                on_change(one)
                if one.ended:
                    left.remove(name)
        if deadline is not None and time.monotonic() >= deadline:
            break
        if left:
            time.sleep(_PAUSE_SECONDS)
    return found
