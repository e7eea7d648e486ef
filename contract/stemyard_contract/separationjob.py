"""The SeparationJob resource, `stemyard.dev/v1alpha1`. Every change to it is additive and optional."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from stemyard_contract.findings import Candidate as Candidate
from stemyard_contract.findings import ResultStatus as ResultStatus
from stemyard_contract.findings import SourceStatus as SourceStatus
from stemyard_contract.findings import Stem as Stem
from stemyard_contract.findings import StemStatus as StemStatus
from stemyard_contract.outbox import SPEC_TARGETS, TARGETS_LIMIT, Events, WebhookStatus, WebhookTarget, WebhookUrl
from stemyard_contract.output import Output as Output
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.resource import Resource, Value, rule
from stemyard_contract.source import ObjectSource as ObjectSource
from stemyard_contract.source import Source as Source
from stemyard_contract.source import UploadSource as UploadSource
from stemyard_contract.source import display_query as display_query

GROUP: Final = "stemyard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SeparationJob"
PLURAL: Final = "separationjobs"
SINGULAR: Final = "separationjob"
SHORT_NAME: Final = "sepjob"
CATEGORY: Final = "stemyard"

FIELD_MANAGER: Final = "stemyard-operator"
"""Owner of `/status` in server-side apply."""
LABEL_TRACK: Final = f"{GROUP}/track-id"
LABEL_STAGE: Final = f"{GROUP}/stage"
LABEL_RUN: Final = f"{GROUP}/run"
LABEL_OWNER: Final = f"{GROUP}/owner"
"""Id of the one API key a SeparationJob belongs to, where results are not shared between keys."""
LABEL_JOB: Final = f"{GROUP}/separationjob"
"""On child Jobs and pods: the name of their SeparationJob."""
ANNOTATION_REDELIVER: Final = f"{GROUP}/redeliver"
"""Asks to deliver webhooks again: `all`, or ids by comma; what follows a space only makes the wish a new one."""
REDELIVER_LIMIT: Final = 4096
"""Characters of that annotation that are read."""
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's own: the LocalQueue that separate Jobs are to go through."""
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "stemyard-operator"

DEFAULT_TTL_SECONDS: Final = 30 * 24 * 3600
"""A completed separation is its own cache entry for 30 days."""


class Phase(StrEnum):
    """One word for where a separation is, derived from its conditions."""

    PENDING = "Pending"
    FETCHING = "Fetching"
    QUEUED = "Queued"
    SEPARATING = "Separating"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"


TERMINAL_PHASES: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})


class ConditionType(StrEnum):
    """What can be waited for with `kubectl wait --for=condition=`."""

    ACCEPTED = "Accepted"
    FETCHED = "Fetched"
    ADMITTED = "Admitted"
    SEPARATED = "Separated"
    PUBLISHED = "Published"
    WEBHOOKS_DELIVERED = "WebhooksDelivered"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class Reason(StrEnum):
    """Stable reasons of conditions that are not failures; failed conditions carry the failure code in CamelCase."""

    VALID = "Valid"
    INVALID = "Invalid"
    WAITING = "Waiting"
    RUNNING = "Running"
    STARTING = "Starting"
    RETRYING = "Retrying"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    SCHEDULED = "Scheduled"
    SUCCEEDED = "Succeeded"
    VERIFIED = "Verified"
    TESTED = "Tested"
    DELIVERING = "Delivering"
    DELIVERED = "Delivered"
    UNDELIVERED = "Undelivered"
    CANCELLED = "Cancelled"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    DUPLICATE = "Duplicate"
    COPIED = "Copied"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    ADMITTED = "Admitted"
    EVICTED = "Evicted"
    SUSPENDED_EXTERNALLY = "SuspendedExternally"


class Claim(Resource):
    """One API key that asked for this track."""

    key: Annotated[str, Field(min_length=1, max_length=64)]
    """Id of the API key, never the key itself."""
    metadata: Annotated[str, Field(max_length=1024)] | None = None
    """Whatever the caller wants echoed, as JSON text."""
    webhook: WebhookUrl | None = None
    """Where this key wants to be told."""
    webhook_events: Events | None = None
    """Events it wants to be told of there; by default the three ends: completed, failed, cancelled."""


class RetryPolicy(Value):
    """How often a stage is tried again."""

    limit: Annotated[int, Field(ge=0, le=10)] = 3
    """Retries of each stage after its first attempt; disruptions do not count."""


class Deadlines(Value):
    """Seconds each part may take."""

    fetch: Annotated[int, Field(ge=10, le=86400)] = 900
    """Seconds one fetch pod may run."""
    queue: Annotated[int, Field(ge=10, le=604800)] = 86400
    """Seconds a fetched track may wait for room to be separated."""
    start: Annotated[int, Field(ge=10, le=86400)] = 900
    """Seconds a created pod may take until its container runs."""
    separate: Annotated[int, Field(ge=10, le=86400)] = 3600
    """Seconds one separate pod may run."""


def _frozen(field: str) -> JsonDict:
    """Return a transition rule for a field that may not change; it also holds where the field is absent."""
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} cannot be changed; create another SeparationJob",
    )


_FROZEN_FIELDS: Final = (
    *("source", "model", "quality", "stems", "output", "profile", "retryPolicy", "deadlines"),
    "webhookTest",
)


class SeparationJobSpec(Resource):
    """What to separate.

    Immutable except `run`, `claims`, `priority`, `suspend`, `cancel` and `ttlSecondsAfterFinished`; `webhooks` grows.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                *(_frozen(field) for field in _FROZEN_FIELDS),
                rule("self.run >= oldSelf.run", "run only grows"),
                rule(
                    "!oldSelf.cancel || self.cancel || self.run > oldSelf.run",
                    "a cancelled run stays cancelled; raise run to run again",
                ),
                rule(
                    "self.webhooks.size() >= oldSelf.webhooks.size() && "
                    "oldSelf.webhooks.all(i, w, self.webhooks[i] == w)",
                    "webhooks can be added at the end, not changed or removed",
                ),
            ]
        }
    )

    source: Source
    """Where the audio comes from."""
    model: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")] = "auto"
    """Name of the separation model; `auto` is the one the deployment configured."""
    quality: Quality = DEFAULT_QUALITY
    """Speed against quality, for models that know the choice."""
    stems: Annotated[
        list[Stem], Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = [Stem.VOCALS, Stem.INSTRUMENTAL]  # noqa: RUF012 - pydantic copies defaults
    """Stems to publish."""
    output: Output = Output()
    """How stems are encoded."""
    run: Annotated[int, Field(ge=1, le=99999)] = 1
    """Number of the run; raise it to run the same separation again."""
    claims: Annotated[
        list[Claim],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """Who asked for this track; written by the API."""
    webhooks: Annotated[list[WebhookTarget], Field(max_length=SPEC_TARGETS)] = []  # noqa: RUF012 - pydantic copies defaults
    """Addresses that are told of this separation. The secrets that sign are in the deployment's configuration."""
    webhook_test: bool = False
    """True only tests the webhooks: no pod runs, and each is sent `webhook.test` once, without retries."""
    profile: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*$")] = "default"
    """Named scheduling profile of the deployment: resources, GPU, node selection."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Among those that wait, a higher priority goes first, and the older of equals; nothing at work is stopped."""
    suspend: bool = False
    """True stops the work and keeps what was done; false goes on from there, with a new attempt that is no retry."""
    cancel: bool = False
    """True stops the current run."""
    retry_policy: RetryPolicy = RetryPolicy()
    """How often a stage is tried again."""
    deadlines: Deadlines = Deadlines()
    """Seconds each part may take."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = DEFAULT_TTL_SECONDS
    """Seconds after which a finished SeparationJob and its artifacts are deleted."""


class Condition(Value):
    """A condition, as `meta/v1` defines it."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, one stable word."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people."""
    last_transition_time: datetime
    """When the status last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec it was decided from."""


class FailureStatus(Value):
    """Why the run failed."""

    code: Annotated[str, Field(max_length=64)]
    """Stable code of the failure table."""
    stage: Annotated[str, Field(max_length=32)]
    """Where it failed."""
    message: Annotated[str, Field(max_length=1024)]
    """A sentence for people."""
    retryable: bool
    """Whether running again may succeed without a change."""


class AttemptsStatus(Value):
    """Kubernetes Jobs made in this run, and how they ended."""

    fetch: Annotated[int, Field(ge=0)] = 0
    """Fetch Jobs made."""
    separate: Annotated[int, Field(ge=0)] = 0
    """Separate Jobs made."""
    disruptions: Annotated[int, Field(ge=0)] = 0
    """Attempts ended by disruptions, which do not count against the retry limit."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Attempts of the stage at work that failed; these count."""
    memory: Annotated[str, Field(max_length=32)] | None = None
    """Memory that further attempts of this stage get, after one ran out of it."""


class UsageStatus(Value):
    """What the pods of the run held, as far as known: what they asked for, times the seconds they were on a node."""

    cpu_seconds: Annotated[float, Field(ge=0)] = 0
    """Cores that were asked for, times seconds."""
    gpu_seconds: Annotated[float, Field(ge=0)] = 0
    """GPUs that were asked for, times seconds."""


class SeparationJobStatus(Resource):
    """What is known; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that was last acted on."""
    run: Annotated[int, Field(ge=1)] | None = None
    """Run that this status tells of."""
    track_id: Annotated[str, Field(max_length=128)] | None = None
    """Id that API clients know the track by."""
    cache_key: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of what was asked for."""
    phase: Phase | None = None
    """Where the separation is, derived from the conditions."""
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    """Percent done; coarse here, fine-grained in the API."""
    stage: Annotated[str, Field(max_length=32)] | None = None
    """Stage at work: fetch or separate."""
    title: Annotated[str, Field(max_length=512)] | None = None
    """Title of the recording; what was asked for until it is known."""
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Why it waits or failed, one word."""
    duration: Annotated[str, Field(max_length=32)] | None = None
    """How long the run took, for people."""
    job: Annotated[str, Field(max_length=63)] | None = None
    """Kubernetes Job at work, or the last one."""
    pod: Annotated[str, Field(max_length=253)] | None = None
    """Pod of that Job when it was last looked at, the newest where one was replaced."""
    attempts: AttemptsStatus | None = None
    """Kubernetes Jobs made in this run, and how they ended."""
    retry_at: datetime | None = None
    """When the next attempt is due, while there is none at work."""
    queued_at: datetime | None = None
    """When the audio was ready and began to wait for room to be separated."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """Conditions by type."""
    source: SourceStatus | None = None
    """What fetch found."""
    result: ResultStatus | None = None
    """What was published."""
    failure: FailureStatus | None = None
    """Why the run failed."""
    usage: UsageStatus | None = None
    """What the pods of this run that have ended held."""
    started_at: datetime | None = None
    """When the first fetch pod of this run started."""
    finished_at: datetime | None = None
    """When this run ended."""
    webhooks: Annotated[
        list[WebhookStatus],
        Field(
            max_length=TARGETS_LIMIT,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """Deliveries of this run's end: the addresses known when it ended, and those that came later."""
    last_handled_redelivery: Annotated[str, Field(max_length=REDELIVER_LIMIT)] | None = None
    """Value of the redelivery annotation that was last carried out."""

    def draft(self) -> Self:
        """Return a copy to change. Parts are shared: they never change, and lists of them are replaced, not altered."""
        return self.model_copy()


def phase_of(conditions: Iterable[Condition]) -> Phase:
    """Return the phase that a set of conditions amounts to."""
    by_type = {condition.type: condition for condition in conditions}

    def holds(kind: ConditionType) -> bool:
        return kind in by_type and by_type[kind].status == "True"

    if holds(ConditionType.COMPLETE):
        return Phase.COMPLETED
    if holds(ConditionType.FAILED):
        cancelled = by_type[ConditionType.FAILED].reason == Reason.CANCELLED
        return Phase.CANCELLED if cancelled else Phase.FAILED
    if holds(ConditionType.SUSPENDED):
        return Phase.SUSPENDED
    if holds(ConditionType.FETCHED):
        return Phase.SEPARATING if holds(ConditionType.ADMITTED) else Phase.QUEUED
    fetch = by_type.get(ConditionType.FETCHED)
    return Phase.PENDING if fetch is None or fetch.reason == Reason.CONCURRENCY_LIMIT else Phase.FETCHING
