"""Leader election by a Lease: one replica acts, and stops well before another may start."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from stemyard_operator.clients.kubernetes import WRITE_SECONDS, Json, KubernetesClient
from stemyard_operator.clients.kubernetes_paths import leases_path
from stemyard_operator.errors import ConflictError, KubernetesError, LeaseLostError, NotFoundError, NotLeadingError

LEASE_SECONDS: Final = 12
"""How long other replicas wait after the last renewal that they observed."""
RENEW_SECONDS: Final = 8.0
"""How long the leader acts without a renewal; writes started before that end before the lease expires."""
RETRY_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


class Lease:
    """Until when this process may act; the elector renews it, and every leader write is checked against it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._renewed_at: float | None = None

    def is_held(self) -> bool:
        """Return whether it was acquired, and neither lost nor released since."""
        return self._renewed_at is not None

    def is_leading(self) -> bool:
        """Return whether this replica may act."""
        return self._renewed_at is not None and self.clock() - self._renewed_at < RENEW_SECONDS

    def fence(self) -> None:
        """Check before a write that the lease outlives it.

        Raises:
            NotLeadingError: it does not.
        """
        if self._renewed_at is None or self.clock() - self._renewed_at >= LEASE_SECONDS - WRITE_SECONDS:
            raise NotLeadingError("the lease does not outlive a write")

    def renew(self, moment: float) -> None:
        """Record a renewal requested at that moment of the clock."""
        self._renewed_at = moment

    def end(self) -> None:
        """Record that it was lost or released."""
        self._renewed_at = None


class LeaderElector:
    """Acquires and renews a lease by the monotonic clock of this process; no wall clock is trusted."""

    def __init__(self, cluster: KubernetesClient, lease: Lease, namespace: str, name: str, identity: str) -> None:
        self._cluster = cluster
        self._lease = lease
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._observed: tuple[str, str] = ("", "")
        """Holder and resource version of the Lease at the last change that this process observed."""
        self._observed_at = 0.0

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while not await self._attempt():  # noqa: ASYNC110 - others change the lease, not this process
            await asyncio.sleep(RETRY_SECONDS * random.uniform(0.9, 1.1))
        log.info("leading", extra={"identity": self._identity})

    async def keep(self) -> None:
        """Renew the lease until that fails.

        Raises:
            LeaseLostError: it was not renewed in time, or another replica holds it.
        """
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            renewed = await self._attempt()
            if not renewed and (not self._lease.is_leading() or self._observed[0] not in {self._identity, ""}):
                self._lease.end()
                raise LeaseLostError(f"lease {self._name} is lost")

    async def release(self) -> None:
        """Release the lease, so that another replica need not wait until it expires."""
        if not self._lease.is_held():
            return
        self._lease.end()
        try:
            lease = await self._read()
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                await self._put(lease)
        except KubernetesError as error:
            log.warning("the lease was not released: %s", error)

    async def _attempt(self) -> bool:
        """Try to acquire or renew the lease; return whether that succeeded."""
        started = self._lease.clock()
        try:
            lease = await self._read()
        except NotFoundError:
            return await self._take(None, started)
        except KubernetesError as error:
            log.warning("the lease could not be read: %s", error)
            return False
        return await self._take(lease, started) if self._is_available(lease) else False

    def _is_available(self, lease: Json) -> bool:
        """Return whether the lease is held by this replica, released, or expired."""
        holder = lease["spec"].get("holderIdentity") or ""
        observed = (holder, lease["metadata"]["resourceVersion"])
        if observed != self._observed:
            self._observed, self._observed_at = observed, self._lease.clock()
        duration = lease["spec"].get("leaseDurationSeconds") or LEASE_SECONDS
        return holder in {"", self._identity} or self._lease.clock() - self._observed_at > duration

    async def _take(self, lease: Json | None, started: float) -> bool:
        try:
            written = await (self._post() if lease is None else self._put(self._with_holder(lease)))
        except ConflictError:
            return False
        except KubernetesError as error:
            log.warning("the lease could not be written: %s", error)
            return False
        self._observed = (self._identity, written["metadata"]["resourceVersion"])
        self._observed_at = started
        self._lease.renew(started)
        return True

    def _with_holder(self, lease: Json) -> Json:
        spec: dict[str, Any] = lease["spec"]
        changed = spec.get("holderIdentity") != self._identity
        spec |= {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now()}
        if changed:
            spec |= {"acquireTime": _now(), "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        return lease

    async def _read(self) -> Json:
        return await self._cluster.request("GET", leases_path(self._namespace, self._name))

    async def _put(self, lease: Json) -> Json:
        return await self._cluster.request("PUT", leases_path(self._namespace, self._name), body=lease)

    async def _post(self) -> Json:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": LEASE_SECONDS,
                "acquireTime": _now(),
                "renewTime": _now(),
                "leaseTransitions": 0,
            },
        }
        return await self._cluster.request("POST", leases_path(self._namespace), body=lease)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
