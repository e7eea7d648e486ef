"""Posts an Event, on the operator's Lease, for a watched namespace that cannot be read."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.events import namespace_unreadable
from stemyard_operator.errors import OperatorError

_REPEAT_SECONDS: Final = 3600
"""An Event is posted again after this time; the API server keeps one per day."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamespaceEvents:
    """Only the leader (`leading`) posts."""

    settings: Settings
    cluster: KubernetesClient
    leading: Callable[[], bool]
    _posted: dict[str, datetime] = field(default_factory=dict, init=False)

    async def unreadable(self, namespace: str, why: str) -> None:
        """Post the Event, at most once an hour for a namespace; failures are logged, not raised."""
        now, last = self.cluster.clock.now(), self._posted.get(namespace)
        if not self.leading() or (last is not None and (now - last).total_seconds() < _REPEAT_SECONDS):
            return
        place = self.settings.pod_namespace
        try:
            await self.cluster.post_event(
                place, namespace_unreadable(self.settings.lease_name, place, namespace, why, now)
            )
        except OperatorError as error:
            log.warning("Event not posted: %s", error)
            return
        self._posted[namespace] = now
