"""Authenticates callers of the desk: from a projected token to the pod, its Job and its SeparationJob, by uid."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import DESK_AUDIENCE, LeasedSeparation, WorkStage
from stemyard_contract.leasing import LEASE_LOST
from stemyard_contract.separationjob import KIND, ConditionType
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import jobs_path, pods_path, separations_path
from stemyard_operator.config.settings import Settings
from stemyard_operator.desk.limits import RateLimit
from stemyard_operator.errors import DeskError, NotFoundError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.conditions import ended, holds
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.separation import Separation, controller_of, separation_of, source_mark_of

_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_EXTRA: Final = "authentication.kubernetes.io/"
_ACCOUNT: Final = "system:serviceaccount:"
_CACHE_SECONDS: Final = 60.0
_CACHE_LIMIT: Final = 2048
_TOKEN_LIMIT: Final = 8192
_REFUSED_SECONDS: Final = 10.0
"""Time for which a refused token is refused again without a review by the API server."""
_REFUSED_BURST: Final = 20
"""Refused tokens of one peer in a row; a peer may be the address of a node with many pods."""
_REFUSED_PER_SECOND: Final = 1.0
_REVIEWS_IN_FLIGHT: Final = 16
"""Unknown tokens that are reviewed at once, of all peers."""
_BUSY_SECONDS: Final = 1
_ENDED: Final = frozenset({"Succeeded", "Failed"})
"""Phases of a pod whose token is still valid, but in other hands."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A pod of one of our Jobs, verified by the API server."""

    pod_uid: str
    job: Job
    separation: str
    """Name of the SeparationJob; `job.owner` is its uid. "" for a worker, which may hold leases of several."""
    pod_name: str = ""


class Authenticator:
    """Labels grant nothing. The caller of a token is cached for a minute; whether it may act is never cached.

    Only reviews of unknown tokens by the API server are limited, and only refused tokens count: pods behind one address
    do not use up each other's limit, and a peer that sends invalid tokens costs the API server few calls.
    """

    def __init__(self, cluster: KubernetesClient, cluster_cache: ClusterCache, settings: Settings) -> None:
        self._cluster = cluster
        self._cluster_cache = cluster_cache
        self._namespaces = settings.namespaces
        self._api_namespace = settings.api_namespace
        self._known: OrderedDict[str, tuple[float, Caller | DeskError]] = OrderedDict()
        self._in_flight = 0
        self.clock: Callable[[], float] = time.monotonic
        self._refusals = RateLimit(_REFUSED_BURST, _REFUSED_PER_SECOND, lambda: self.clock())

    async def authenticate(self, token: str, peer: str) -> Caller:
        """Return the caller with this token, sent from the address `peer`.

        Raises:
            DeskError: 401 if the token is not valid, 403 if it is not of one of our pods, 429 if the peer has sent too
                many such tokens, 503 if too many unknown tokens are being reviewed.
            KubernetesError: the API server does not respond.
        """
        if not token or len(token) > _TOKEN_LIMIT:
            raise DeskError(401, FailureCode.UNAUTHENTICATED, "Send the projected token as a bearer token.")
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._recall(digest)
        if known is None:
            known = await self._ask(token, peer)
            self._remember(digest, known)
        if isinstance(known, DeskError):
            raise DeskError(known.status, known.response_code, str(known))
        return known

    async def _ask(self, token: str, peer: str) -> Caller | DeskError:
        """Return whose token it is according to the API server, or why it is refused."""
        if self._in_flight >= _REVIEWS_IN_FLIGHT:
            raise DeskError(503, FailureCode.UNAVAILABLE, "The desk is busy; try again.", _BUSY_SECONDS)
        if not self._refusals.take(peer):
            message = "Too many invalid tokens came from this address."
            raise DeskError(429, FailureCode.RATE_LIMITED, message, self._refusals.seconds)
        refused = False
        self._in_flight += 1
        try:
            return await self._follow(await self._review(token))
        except DeskError as error:
            refused = True
            return error
        finally:
            self._in_flight -= 1
            if not refused:
                self._refusals.give_back(peer)

    def _recall(self, digest: str) -> Caller | DeskError | None:
        at, known = self._known.get(digest, (0.0, None))
        lifetime = _REFUSED_SECONDS if isinstance(known, DeskError) else _CACHE_SECONDS
        return known if self.clock() - at < lifetime else None

    def _remember(self, digest: str, known: Caller | DeskError) -> None:
        self._known[digest] = (self.clock(), known)
        self._known.move_to_end(digest)
        while len(self._known) > _CACHE_LIMIT:
            self._known.popitem(last=False)

    async def authorized_separation(self, caller: Caller) -> Separation:
        """Return the caller's SeparationJob, if its Job is still the current one.

        The cache of this replica may be older than the Job. A refusal ends the Job's run, so it is only made from the
        present state of the API server.

        Raises:
            DeskError: 403: it is gone, another one, being deleted, cancelled, finished, or at another run.
            KubernetesError: the API server does not respond.
        """
        known = self._cluster_cache.typed(caller.job.owner)
        if known is not None:
            with suppress(DeskError):
                return _admitted(caller, known)
        path = separations_path(caller.job.namespace, caller.separation)
        try:
            separation = separation_of(await self._cluster.read(path), self._api_namespace)
        except NotFoundError:
            raise _refused("the separation is gone") from None
        return _admitted(caller, separation)

    async def leased_separation(self, caller: Caller, reference: LeasedSeparation | None) -> tuple[Caller, Separation]:
        """Return the SeparationJob that a worker names, if its pod holds it, and the caller as its Job would be.

        Raises:
            DeskError: 409 if the pod does not hold it, or no longer; 422 if the request does not name it.
            KubernetesError: the API server does not respond.
        """
        if reference is None:
            raise DeskError(422, FailureCode.INVALID_REQUEST, "A worker names the SeparationJob: separation.")
        known = self._cluster_cache.typed(reference.uid)
        if known is not None and known.namespace == caller.job.namespace and _is_held(caller, known):
            return _as_holder(caller, known), known
        path = separations_path(caller.job.namespace, reference.name)
        try:
            separation = separation_of(await self._cluster.read(path), self._api_namespace)
        except NotFoundError:
            raise _not_held() from None
        if separation.uid != reference.uid or not _is_held(caller, separation):
            raise _not_held()
        return _as_holder(caller, separation), separation

    async def _review(self, token: str) -> Mapping[str, Any]:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [DESK_AUDIENCE]},
        }
        status = (await self._cluster.request("POST", _REVIEWS, body=body)).get("status") or {}
        if not status.get("authenticated") or DESK_AUDIENCE not in (status.get("audiences") or []):
            raise DeskError(401, FailureCode.UNAUTHENTICATED, "The token is not valid here.")
        return dict(status["user"])

    async def _follow(self, user: Mapping[str, Any]) -> Caller:
        namespace = user.get("username", "").removeprefix(_ACCOUNT).partition(":")[0]
        extra = user.get("extra") or {}
        pod_name, pod_uid = (next(iter(extra.get(_EXTRA + part) or []), "") for part in ("pod-name", "pod-uid"))
        if not user.get("username", "").startswith(_ACCOUNT) or namespace not in self._namespaces or not pod_name:
            raise _refused("the token is not bound to a pod of a watched namespace")
        try:
            pod = await self._cluster.read(pods_path(namespace, pod_name))
        except NotFoundError:
            raise _refused("the pod is gone") from None
        owner = controller_of(pod["metadata"], "Job")
        if pod["metadata"]["uid"] != pod_uid or owner is None:
            raise _refused("the pod is not one of a Job")
        if (pod.get("status") or {}).get("phase") in _ENDED:
            raise _refused("the pod has ended")
        job, name = await self._job(namespace, owner)
        return Caller(pod_uid=pod_uid, job=job, separation=name, pod_name=pod_name)

    async def _job(self, namespace: str, owner: Mapping[str, Any]) -> tuple[Job, str]:
        """Return the Job with the owner's uid, whose name must follow from its own owner, and that owner's name.

        A worker has no owner: what it may do follows from the leases that name its pod.
        """
        try:
            resource = await self._cluster.read(jobs_path(namespace, owner["name"]))
        except NotFoundError:
            raise _refused("the Job is gone") from None
        job, controller = job_of(resource), controller_of(resource["metadata"], KIND)
        if job is not None and job.shape and job.uid == owner["uid"]:
            return job, ""
        if job is None or controller is None or job.uid != owner["uid"]:
            raise _refused("the Job is not one of a SeparationJob")
        return job, controller["name"]


def _admitted(caller: Caller, separation: Separation) -> Separation:
    job = caller.job
    if (separation.uid, separation.namespace) != (job.owner, job.namespace):
        raise _refused("the Job is of another separation")
    if separation.deleting or separation.spec.cancel or ended(separation):
        raise _refused("the separation is over, cancelled or gone")
    if separation.spec.run != job.run:
        raise _refused("another run was requested")
    if job.stage is WorkStage.FETCH and holds(separation.run_status, ConditionType.FETCHED):
        raise _refused("the source is accepted")
    return separation


def _is_held(caller: Caller, separation: Separation) -> bool:
    lease, over = separation.run_status.lease, separation.deleting or separation.spec.cancel or ended(separation)
    return lease is not None and lease.pod_uid == caller.pod_uid and not over


def _as_holder(caller: Caller, separation: Separation) -> Caller:
    """Return a worker as the Job that the song would have: its run, attempt and source."""
    lease = separation.run_status.lease
    job = replace(
        caller.job,
        owner=separation.uid,
        run=separation.spec.run,
        attempt=lease.attempt if lease is not None else 0,
        fetched=source_mark_of(separation.run_status),
    )
    return replace(caller, job=job, separation=separation.name)


def _not_held() -> DeskError:
    return DeskError(LEASE_LOST, FailureCode.LINK_REFUSED, "Refused: this pod does not hold the song, or no longer.")


def _refused(why: str) -> DeskError:
    return DeskError(403, FailureCode.LINK_REFUSED, f"Refused: {why}.")
