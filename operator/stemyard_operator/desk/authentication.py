"""Who is calling at the desk: from a projected token to the pod, its Job and its SeparationJob, each step by uid."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import DESK_AUDIENCE
from stemyard_contract.separationjob import KIND
from stemyard_operator.clients.kubernetes import KubernetesClient, jobs_path, pods_path, separations_path
from stemyard_operator.errors import DeskError, NotFoundError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.separation import Separation, controller_of, separation_of

_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_EXTRA: Final = "authentication.kubernetes.io/"
_ACCOUNT: Final = "system:serviceaccount:"
_REMEMBER_SECONDS: Final = 60.0
_REMEMBERED: Final = 2048
_TOKEN_LIMIT: Final = 8192


@dataclass(frozen=True, slots=True)
class Caller:
    """A pod of a Job of ours, as the API server vouches for it."""

    pod_uid: str
    job: Job
    separation: str
    """Name of the SeparationJob; `job.owner` is its uid."""


class Authenticator:
    """Labels grant nothing. What a token stands for is remembered for a minute; whether it may act, not at all."""

    def __init__(self, cluster: KubernetesClient, cluster_cache: ClusterCache, namespaces: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._cluster_cache = cluster_cache
        self._namespaces = namespaces
        self._known: OrderedDict[str, tuple[float, Caller]] = OrderedDict()
        self.clock: Callable[[], float] = time.monotonic

    async def identify(self, token: str) -> Caller:
        """Return whose token this is.

        Raises:
            DeskError: 401 when it is nobody's, 403 when it is not one of our pods'.
            KubernetesError: the API server does not answer.
        """
        if not token or len(token) > _TOKEN_LIMIT:
            raise DeskError(401, FailureCode.UNAUTHENTICATED, "Send the projected token as a bearer token.")
        seal = hashlib.sha256(token.encode()).hexdigest()
        known = self._known.get(seal)
        if known is not None and self.clock() - known[0] < _REMEMBER_SECONDS:
            return known[1]
        caller = await self._follow(await self._review(token))
        self._known[seal] = (self.clock(), caller)
        self._known.move_to_end(seal)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return caller

    async def admit(self, caller: Caller) -> Separation:
        """Return the caller's SeparationJob, provided its Job still works for it.

        Raises:
            DeskError: 403: it is gone, another one, being deleted, cancelled, over, or at another run.
        """
        separation = await self._separation(caller)
        job = caller.job
        if separation.uid != job.owner or separation.deleting or separation.spec.cancel or ended(separation):
            raise _refused("the separation is over, cancelled or gone")
        if separation.spec.run != job.run:
            raise _refused("another run was asked for")
        return separation

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
        job, name = await self._job(namespace, owner)
        return Caller(pod_uid=pod_uid, job=job, separation=name)

    async def _job(self, namespace: str, owner: Mapping[str, Any]) -> tuple[Job, str]:
        """Return the Job with the owner's uid, whose name must follow from its own owner, and that owner's name."""
        try:
            resource = await self._cluster.read(jobs_path(namespace, owner["name"]))
        except NotFoundError:
            raise _refused("the Job is gone") from None
        job, controller = job_of(resource), controller_of(resource["metadata"], KIND)
        if job is None or controller is None or job.uid != owner["uid"]:
            raise _refused("the Job is not one of a SeparationJob")
        return job, controller["name"]

    async def _separation(self, caller: Caller) -> Separation:
        known = self._cluster_cache.typed(caller.job.owner)
        if known is not None:
            return known
        try:
            return separation_of(await self._cluster.read(separations_path(caller.job.namespace, caller.separation)))
        except NotFoundError:
            raise _refused("the separation is gone") from None


def _refused(why: str) -> DeskError:
    return DeskError(403, FailureCode.LINK_REFUSED, f"Refused: {why}.")
