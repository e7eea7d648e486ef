"""The SeparationJob resource, `stemyard.dev/v1alpha1`. Every change to it is additive and optional."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from stemyard_contract.conditions import TERMINAL_PHASES as TERMINAL_PHASES
from stemyard_contract.conditions import Condition as Condition
from stemyard_contract.conditions import ConditionType as ConditionType
from stemyard_contract.conditions import Phase as Phase
from stemyard_contract.conditions import Reason as Reason
from stemyard_contract.conditions import phase_of as phase_of
from stemyard_contract.findings import Candidate as Candidate
from stemyard_contract.findings import ResultStatus as ResultStatus
from stemyard_contract.findings import SourceStatus as SourceStatus
from stemyard_contract.findings import Stem as Stem
from stemyard_contract.findings import StemStatus as StemStatus
from stemyard_contract.outbox import (
    REGISTERED_TARGETS_LIMIT,
    SPEC_TARGETS,
    TARGETS_LIMIT,
    Events,
    WebhookStatus,
    WebhookTarget,
    WebhookUrl,
)
from stemyard_contract.output import Output as Output
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.resource import Resource, Value, rule
from stemyard_contract.source import ObjectSource as ObjectSource
from stemyard_contract.source import Source as Source
from stemyard_contract.source import UploadSource as UploadSource
from stemyard_contract.source import display_query as display_query
from stemyard_contract.source import title_of as title_of

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
LABEL_PROFILE: Final = f"{GROUP}/profile"
"""On workers: the name of their profile."""
LABEL_SHAPE: Final = f"{GROUP}/worker-shape"
"""On workers: what their songs have in common."""
ANNOTATION_REDELIVER: Final = f"{GROUP}/redeliver"
"""Requests redelivery of webhooks: `all`, or comma-separated ids; text after a space only makes the value unique."""
REDELIVER_LIMIT: Final = 4096
"""Maximum length of that annotation, in characters."""
ANNOTATION_SHARES_REVOKED: Final = f"{GROUP}/shares-revoked"
"""When the share links of a track were revoked last, in epoch milliseconds: links made before have another value."""
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's label: the LocalQueue that separate Jobs are submitted to."""
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "stemyard-operator"

API_TTL_SECONDS: Final = 30 * 24 * 3600
"""TTL of what is requested through the API: a completed separation is the cache entry of its request for 30 days."""


RUN_LIMIT: Final = 99_999
"""Greatest number of a run."""
STAND_IN_SPEC: Final[Mapping[str, object]] = {"source": {"searchQuery": "unreadable"}}
"""Takes the place of a spec that cannot be read, as one stored under an older CRD, where only the rest matters."""


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

    Immutable except `run`, `claims`, `webhooks`, `priority`, `suspend`, `cancel` and `ttlSecondsAfterFinished`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                *(_frozen(field) for field in _FROZEN_FIELDS),
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
    run: Annotated[int, Field(ge=1, le=RUN_LIMIT)] = 1
    """Number of the run; increase it to run the same separation again. A number below `status.run` changes nothing."""
    claims: Annotated[
        list[Claim],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """API keys that requested this track; written by the API."""
    webhooks: Annotated[list[WebhookTarget], Field(max_length=SPEC_TARGETS)] = []  # noqa: RUF012 - pydantic copies defaults
    """Webhooks of this separation. One that is added after its end gets one delivery; one that is removed after it
    still gets what was due. Signing secrets are configured in the deployment, never in this resource."""
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
    """If true, the current run is cancelled. Once that is done, false changes nothing; increase `run` to run again."""
    retry_policy: RetryPolicy = RetryPolicy()
    """How often a failed stage is retried."""
    deadlines: Deadlines = Deadlines()
    """Time limits, in seconds."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after which a finished SeparationJob and its artifacts are deleted; absent means they are kept. What the
    API creates has 30 days."""


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
    """Attempts of this run, each a Kubernetes Job or a lease to a worker."""

    fetch: Annotated[int, Field(ge=0)] = 0
    """Fetch Jobs created."""
    separate: Annotated[int, Field(ge=0)] = 0
    """Separate Jobs created, and leases to workers."""
    disruptions: Annotated[int, Field(ge=0)] = 0
    """Pods lost to disruptions, and attempts that could not reach the desk; not counted against the retry limit."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Failed attempts of the current stage, which count against the retry limit."""
    requeued: Annotated[int, Field(ge=1)] | None = None
    """Jobs of the current stage that had no scheduled pod in time, which do not count against the retry limit."""
    ended: bool | None = None
    """True while the last of these Jobs has ended and the next one waits for a slot, or to be resumed."""
    alone: bool | None = None
    """True if the next attempts have Jobs of their own: the worker that held this song ended unexpectedly."""
    memory: Annotated[str, Field(max_length=32)] | None = None
    """Memory limit of the next attempts of this stage, after an attempt was OOM-killed."""
    ephemeral_storage: Annotated[str, Field(max_length=32)] | None = None
    """Ephemeral storage of the next attempts of this stage, after an attempt was evicted for exceeding its own."""


class LeaseStatus(Value):
    """The worker's pod that separates this song, or holds it for as soon as it can."""

    pod_uid: Annotated[str, Field(max_length=64)]
    """The pod's uid; `status.job` and `status.pod` name worker and pod."""
    since: datetime
    """When the song was leased."""
    attempt: Annotated[int, Field(ge=1)]
    """Number of the attempt, counted with those that have Jobs of their own."""


class UsageStatus(Value):
    """Resources that the pods of the run held: their requests times the seconds they were scheduled on a node."""

    cpu_seconds: Annotated[float, Field(ge=0)] = 0
    """CPU cores requested, times seconds."""
    gpu_seconds: Annotated[float, Field(ge=0)] = 0
    """GPUs requested, times seconds."""
    ending_jobs: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=2)] | None = None
    """Jobs whose stage is done while their pods are still ending: not counted yet."""


class SeparationJobStatus(Resource):
    """Observed state; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=-1)] | None = None
    """`metadata.generation` that the operator last acted on; -1 before it has acted."""
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
    model: Annotated[str, Field(max_length=64)] | None = None
    """Name of the separation model: the deployment's default model if the spec has `auto`."""
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
    lease: LeaseStatus | None = None
    """Lease of the song to a worker, while one holds it; only with a profile that has workers."""
    attempts: AttemptsStatus | None = None
    """Attempts of this run, each a Kubernetes Job or a lease to a worker."""
    retry_at: datetime | None = None
    """When the next attempt is due, while none is running; absent once it is due and only waits for a slot."""
    pending_since: datetime | None = None
    """Since when no Job of the stage could be created, or had a pod that was scheduled."""
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
            max_length=TARGETS_LIMIT + REGISTERED_TARGETS_LIMIT,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """Webhook deliveries of this run: targets known when it ended, and targets added later."""
    last_handled_redelivery: Annotated[str, Field(max_length=REDELIVER_LIMIT)] | None = None
    """Value of the redelivery annotation that was last handled."""

    @property
    def attempt_over(self) -> bool:
        """Whether the last attempt has ended, so that the next one is due now or at `retry_at`."""
        return self.retry_at is not None or (self.attempts is not None and bool(self.attempts.ended))

    def draft(self) -> Self:
        """Return a shallow copy to modify. Its parts are shared and immutable: replace lists, do not modify them."""
        return self.model_copy()


def requested_run(spec: SeparationJobSpec, status: SeparationJobStatus) -> int:
    """Return the requested run: a run that has begun is not undone by a lower number in an older manifest."""
    return max(spec.run, status.run or 1)
