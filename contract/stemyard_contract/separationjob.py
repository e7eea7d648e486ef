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
"""Requests redelivery of webhooks: `all`, or comma-separated ids; text after a space only makes the value unique."""
REDELIVER_LIMIT: Final = 4096
"""Maximum length of that annotation, in characters."""
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's label: the LocalQueue that separate Jobs are submitted to."""
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "stemyard-operator"

DEFAULT_TTL_SECONDS: Final = 30 * 24 * 3600
"""A completed separation is the cache entry of its request, for 30 days by default."""


class Phase(StrEnum):
    """Summary of the conditions in one word."""

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
    """Types of the conditions in `status.conditions`."""

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
    """An API key that requested this track."""

    key: Annotated[str, Field(min_length=1, max_length=64)]
    """Id of the API key, never the key itself."""
    metadata: Annotated[str, Field(max_length=1024)] | None = None
    """Metadata that the API echoes to this key, as JSON text."""
    webhook: WebhookUrl | None = None
    """URL of this key's webhook."""
    webhook_events: Events | None = None
    """Events sent to that webhook; by default the three that end a run: completed, failed, cancelled."""


class RetryPolicy(Value):
    """How often a failed stage is retried."""

    limit: Annotated[int, Field(ge=0, le=10)] = 3
    """Retries of each stage after its first attempt; disruptions do not count."""


class Deadlines(Value):
    """Time limits, in seconds."""

    fetch: Annotated[int, Field(ge=10, le=86400)] = 900
    """Seconds that a fetch pod may run."""
    queue: Annotated[int, Field(ge=10, le=604800)] = 86400
    """Seconds that a fetched track may wait to be separated."""
    start: Annotated[int, Field(ge=10, le=86400)] = 900
    """Seconds from the creation of a pod until its container must run."""
    separate: Annotated[int, Field(ge=10, le=86400)] = 3600
    """Seconds that a separate pod may run."""


def _frozen(field: str) -> JsonDict:
    """Return a CEL transition rule that makes a field immutable, whether it is set or absent."""
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

    Immutable except `run`, `claims`, `priority`, `suspend`, `cancel` and `ttlSecondsAfterFinished`; `webhooks`
    may only be appended to.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                *(_frozen(field) for field in _FROZEN_FIELDS),
                rule("self.run >= oldSelf.run", "run can only be increased"),
                rule(
                    "!oldSelf.cancel || self.cancel || self.run > oldSelf.run",
                    "a cancelled run stays cancelled; increase run to run again",
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
    """Name of the separation model; `auto` is the deployment's default model."""
    quality: Quality = DEFAULT_QUALITY
    """Trade-off between speed and quality, for models that support it."""
    stems: Annotated[
        list[Stem], Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = [Stem.VOCALS, Stem.INSTRUMENTAL]  # noqa: RUF012 - pydantic copies defaults
    """Stems to publish."""
    output: Output = Output()
    """How stems are encoded."""
    run: Annotated[int, Field(ge=1, le=99999)] = 1
    """Number of the run; increase it to run the same separation again."""
    claims: Annotated[
        list[Claim],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """API keys that requested this track; written by the API."""
    webhooks: Annotated[list[WebhookTarget], Field(max_length=SPEC_TARGETS)] = []  # noqa: RUF012 - pydantic copies defaults
    """Webhooks of this separation. Signing secrets are configured in the deployment, never in this resource."""
    webhook_test: bool = False
    """If true, no pod runs: each webhook is sent `webhook.test` once, without retries."""
    profile: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*$")] = "default"
    """Name of a scheduling profile of the deployment: resources, GPU, node selection."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Order in the queue: higher priority first, then older first. Running separations are never preempted."""
    suspend: bool = False
    """If true, the running Job is stopped and finished stages are kept; false resumes with a new attempt that does not
    count as a retry."""
    cancel: bool = False
    """If true, the current run is cancelled."""
    retry_policy: RetryPolicy = RetryPolicy()
    """How often a failed stage is retried."""
    deadlines: Deadlines = Deadlines()
    """Time limits, in seconds."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] = DEFAULT_TTL_SECONDS
    """Seconds after which a finished SeparationJob and its artifacts are deleted."""


class Condition(Value):
    """A condition as defined by `meta/v1`."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Machine-readable reason, CamelCase."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Human-readable explanation."""
    last_transition_time: datetime
    """When the status of the condition last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """`metadata.generation` that the condition was set from."""


class FailureStatus(Value):
    """Why the run failed."""

    code: Annotated[str, Field(max_length=64)]
    """Stable failure code."""
    stage: Annotated[str, Field(max_length=32)]
    """Stage that failed."""
    message: Annotated[str, Field(max_length=1024)]
    """Human-readable explanation."""
    retryable: bool
    """Whether running again may succeed without a change."""


class AttemptsStatus(Value):
    """Attempts of this run, each a Kubernetes Job."""

    fetch: Annotated[int, Field(ge=0)] = 0
    """Fetch Jobs created."""
    separate: Annotated[int, Field(ge=0)] = 0
    """Separate Jobs created."""
    disruptions: Annotated[int, Field(ge=0)] = 0
    """Attempts ended by disruptions, which do not count against the retry limit."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Failed attempts of the current stage, which count against the retry limit."""
    memory: Annotated[str, Field(max_length=32)] | None = None
    """Memory limit of the next attempts of this stage, after an attempt was OOM-killed."""


class UsageStatus(Value):
    """Resources that the pods of the run held: their requests times the seconds they were scheduled on a node."""

    cpu_seconds: Annotated[float, Field(ge=0)] = 0
    """CPU cores requested, times seconds."""
    gpu_seconds: Annotated[float, Field(ge=0)] = 0
    """GPUs requested, times seconds."""


class SeparationJobStatus(Resource):
    """Observed state; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """`metadata.generation` that the operator last acted on."""
    run: Annotated[int, Field(ge=1)] | None = None
    """Run that this status describes."""
    track_id: Annotated[str, Field(max_length=128)] | None = None
    """Id of the track in the REST API."""
    cache_key: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the normalised request: equal requests have equal keys."""
    phase: Phase | None = None
    """Summary of the conditions in one word."""
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    """Percent done; coarse here, fine-grained in the REST API."""
    stage: Annotated[str, Field(max_length=32)] | None = None
    """Current stage: fetch or separate."""
    title: Annotated[str, Field(max_length=512)] | None = None
    """Title of the recording; the query until the title is known."""
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Why it waits or failed, in one word."""
    duration: Annotated[str, Field(max_length=32)] | None = None
    """How long the run took, human-readable."""
    job: Annotated[str, Field(max_length=63)] | None = None
    """Name of the current Kubernetes Job, or the last one."""
    pod: Annotated[str, Field(max_length=253)] | None = None
    """Newest observed pod of that Job."""
    attempts: AttemptsStatus | None = None
    """Attempts of this run, each a Kubernetes Job."""
    retry_at: datetime | None = None
    """When the next attempt is due, while none is running."""
    queued_at: datetime | None = None
    """When fetch finished and the track was queued for separation."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """Conditions by type."""
    source: SourceStatus | None = None
    """Recording that was fetched."""
    result: ResultStatus | None = None
    """Published stems."""
    failure: FailureStatus | None = None
    """Why the run failed."""
    usage: UsageStatus | None = None
    """Resources held by the finished pods of this run."""
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
    """Webhook deliveries of this run: targets known when it ended, and targets added later."""
    last_handled_redelivery: Annotated[str, Field(max_length=REDELIVER_LIMIT)] | None = None
    """Value of the redelivery annotation that was last handled."""

    def draft(self) -> Self:
        """Return a shallow copy to modify. Its parts are shared and immutable: replace lists, do not modify them."""
        return self.model_copy()


def phase_of(conditions: Iterable[Condition]) -> Phase:
    """Return the phase that the conditions add up to."""
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
