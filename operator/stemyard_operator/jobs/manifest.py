"""Manifests of the fetch and separate Jobs, as raw JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stemyard_contract.handover import (
    ASSIGNMENT_VARIABLE,
    DESK_AUDIENCE,
    DESK_TOKEN_PATH,
    POD_UID_VARIABLE,
    Assignment,
    Limits,
    MarkReference,
    WorkStage,
)
from stemyard_contract.identity import job_name
from stemyard_contract.models import Flavour, Model, resolve_model
from stemyard_contract.separationjob import (
    API_VERSION,
    KIND,
    LABEL_COMPONENT,
    LABEL_JOB,
    LABEL_MANAGED_BY,
    LABEL_RUN,
    LABEL_STAGE,
    LABEL_TRACK,
    MANAGED_BY,
    SeparationJobSpec,
)
from stemyard_operator.config.profiles import Placement, Profile, StageProfile
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.jobs.authorities import authority_environment, authority_mounts, authority_volumes
from stemyard_operator.jobs.disk import disk_growth, first_disk, mebibytes, workspace
from stemyard_operator.jobs.kueue import queue_labels, queue_of, suspension
from stemyard_operator.jobs.pod_options import extra_mounts, extra_volumes, pod_fields
from stemyard_operator.jobs.sources import source_environment, source_mounts, source_volumes
from stemyard_operator.model.separation import Separation

JOB_LABELS: Final = {LABEL_MANAGED_BY: MANAGED_BY}
"""Label selector of the operator's Jobs."""
JOB_TTL_SECONDS: Final = 3600
_GRACE_SECONDS: Final = 10
_TOKEN_SECONDS: Final = 3600
_TMP: Final = 64 * 1024 * 1024
_EPHEMERAL: Final = "ephemeral-storage"
_CONTAINER: Final = "separator"


@dataclass(frozen=True, slots=True)
class PodTask:
    """What a separator pod is for."""

    variable: str
    """Environment variable that says so."""
    text: str
    """Its value."""
    deadline: int
    """Seconds that the pod may run."""
    disk: Mapping[str, dict[str, str]]
    """Ephemeral storage, as requests and limits."""
    work_bytes: int
    """Size of the folder for the pod's files."""
    tmp_bytes: int = _TMP
    memory: int | None = None
    """Memory limit in bytes, None for the profile's."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A Job to create."""

    stage: WorkStage
    name: str
    manifest: Mapping[str, Any]
    queue: str = ""
    """Kueue queue that limits it instead of the operator's own limits."""
    shape: str = ""
    """Shape of a worker; "" for the Job of one song."""


def build_job(
    separation: Separation,
    stage: WorkStage,
    attempt: int,
    settings: Settings,
    memory: int | None = None,
    fetched: MarkReference | None = None,
) -> Creation:
    """Return the Job of one attempt at a stage.

    Args:
        separation: the SeparationJob; its spec is valid.
        stage: the stage.
        attempt: number of the Job within stage and run, from 1.
        settings: the deployment's settings.
        memory: memory limit in bytes, None for the profile's.
        fetched: commit mark of fetch, for separate.
    """
    name = job_name(separation.name, separation.uid, stage, separation.spec.run, attempt)
    growth = disk_growth(separation, stage, settings)
    task = PodTask(
        variable=ASSIGNMENT_VARIABLE,
        text=assignment(separation, stage, settings, fetched).dump(),
        deadline=_deadline(separation, stage, settings),
        disk=_disk(separation, stage, settings),
        work_bytes=workspace(separation, stage, settings) + growth,
        tmp_bytes=_TMP + growth,
        memory=memory,
    )
    manifest = job_manifest(separation, stage, settings, task, _labels(separation, stage))
    manifest["metadata"] |= {"name": name, "ownerReferences": [_owner(separation)]}
    return Creation(stage, name, manifest, queue_of(separation, stage, settings))


def job_manifest(
    separation: Separation, stage: WorkStage, settings: Settings, task: PodTask, own_labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return the manifest of a Job for a separation, without a name or an owner."""
    suspended = suspension(separation, stage, settings)
    options = _profile(separation, settings).options(stage)
    labels = {**options.labels, **own_labels}
    metadata: dict[str, Any] = {
        "namespace": separation.namespace,
        "labels": {**labels, **queue_labels(separation, stage, settings)},
    }
    if options.annotations:
        metadata["annotations"] = options.annotations
    pod_metadata = {
        "labels": {**settings.separator_pod_labels, **labels},
        "annotations": {**_NO_CONSOLIDATION, **settings.separator_pod_annotations, **options.annotations},
    }
    template = {"metadata": pod_metadata, "spec": _pod(separation, stage, settings, task)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {**_ONE_POD, **suspended, "ttlSecondsAfterFinished": JOB_TTL_SECONDS, "template": template},
    }


_NO_CONSOLIDATION: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Keeps autoscalers from removing a node for cost while it separates; an idle node can be removed."""
_ONE_POD: Final = {
    "backoffLimit": 0,
    "completions": 1,
    "parallelism": 1,
    "podFailurePolicy": {
        "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    },
    "podReplacementPolicy": "Failed",
}
"""One pod, replaced only after disruptions; every other retry is a new Job."""


def _profile(separation: Separation, settings: Settings) -> Profile:
    return settings.profiles[separation.spec.profile]


def _labels(separation: Separation, stage: WorkStage) -> dict[str, str]:
    """Return only the operator's labels: labels of the parent may mean something to other tools, such as GitOps."""
    return {
        **JOB_LABELS,
        LABEL_COMPONENT: "separator",
        LABEL_STAGE: stage,
        LABEL_RUN: str(separation.spec.run),
        LABEL_JOB: separation.name,
        LABEL_TRACK: separation.track_id[:63].rstrip("-._"),
    }


def _owner(separation: Separation) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": separation.name,
        "uid": separation.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _pod(separation: Separation, stage: WorkStage, settings: Settings, task: PodTask) -> dict[str, Any]:
    profile = _profile(separation, settings)
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": task.deadline,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "serviceAccountName": settings.separator_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": settings.pod_security_context,
        **({"hostUsers": False} if stage is WorkStage.FETCH and settings.fetch_host_users is False else {}),
        "containers": [_container(separation, stage, settings, task)],
        "volumes": [*_volumes(stage, settings, task), *extra_volumes(profile.options(stage))],
        **_placement(profile.placement(stage)),
        **_claims(profile.stage(stage)),
        **pod_fields(profile.options(stage), settings.image_pull_secrets),
    }


def _deadline(separation: Separation, stage: WorkStage, settings: Settings) -> int:
    deadlines = settings.deadlines(separation.spec.deadlines)
    return deadlines.fetch if stage is WorkStage.FETCH else deadlines.separate


def _claims(profile: StageProfile) -> dict[str, Any]:
    claims = [claim.model_dump(by_alias=True) for claim in profile.resource_claims]
    return {"resourceClaims": claims} if claims else {}


def _placement(placement: Placement) -> dict[str, Any]:
    return {
        key: value for key, value in placement.model_dump(by_alias=True).items() if value and key in _PLACEMENT_FIELDS
    }


_PLACEMENT_FIELDS: Final = frozenset(
    {
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
        "runtimeClassName",
        "topologySpreadConstraints",
        "schedulerName",
    }
)


def _container(separation: Separation, stage: WorkStage, settings: Settings, task: PodTask) -> dict[str, Any]:
    flavour = Flavour.CPU if stage is WorkStage.FETCH else model_of(separation.spec, settings).flavour
    profile, options = _profile(separation, settings).stage(stage), _profile(separation, settings).options(stage)
    return {
        "name": _CONTAINER,
        "image": settings.image(flavour),
        "imagePullPolicy": settings.image_pull_policy,
        "env": _environment(separation, stage, settings, task),
        "resources": _resources(profile, task.memory, task.disk),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": [*_mounts(stage, settings), *extra_mounts(options)],
    }


def _environment(separation: Separation, stage: WorkStage, settings: Settings, task: PodTask) -> list[dict[str, Any]]:
    values = {
        task.variable: task.text,
        "STEMYARD_WORK_DIR": "/work",
        "STEMYARD_MODEL_DIR": "/models",
        "HOME": "/tmp",  # noqa: S108 - the pod's own emptyDir
        **authority_environment(settings),
        **settings.separator_extra_env,
    }
    pod_uid = {"name": POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    own = source_environment(settings) if stage is WorkStage.FETCH else _compute_environment(separation, settings)
    variables = [{"name": name, "value": value} for name, value in values.items()]
    return [*variables, *(each for each in own if each["name"] not in values), pod_uid]


def _compute_environment(separation: Separation, settings: Settings) -> list[dict[str, Any]]:
    """Return the device that separate must use: a GPU requested by the profile, for an engine that supports it."""
    device = _profile(separation, settings).separate.required_device
    if device is None or model_of(separation.spec, settings).flavour is not Flavour.CUDA:
        return []
    return [{"name": "STEMYARD_DEVICE", "value": device}]


def assignment(
    separation: Separation, stage: WorkStage, settings: Settings, fetched: MarkReference | None
) -> Assignment:
    """Return the Assignment of a separator pod."""
    spec = separation.spec
    return Assignment(
        stage=stage,
        uid=separation.uid,
        name=separation.name,
        namespace=separation.namespace,
        track_id=separation.track_id,
        owner=separation.owner,
        run=spec.run,
        source=spec.source,
        model=model_of(spec, settings).name,
        quality=spec.quality,
        stems=spec.stems,
        output=spec.output,
        limits=Limits(max_bytes=settings.max_bytes, max_duration_seconds=settings.max_duration_seconds),
        deadline_seconds=_deadline(separation, stage, settings),
        desk_url=settings.desk_url.rstrip("/"),
        youtube_enabled=settings.youtube_enabled,
        fetched=fetched if stage is WorkStage.SEPARATE else None,
    )


def _disk(separation: Separation, stage: WorkStage, settings: Settings) -> dict[str, dict[str, str]]:
    """Return ephemeral storage as requests and limits: those of the profile win, unless an attempt was evicted."""
    profile, growth = _profile(separation, settings).stage(stage), disk_growth(separation, stage, settings)
    size = mebibytes(first_disk(separation, stage, settings) + growth)
    own = {"requests": profile.resources.requests, "limits": profile.resources.limits}
    return {kind: {_EPHEMERAL: size if growth else amounts.get(_EPHEMERAL, size)} for kind, amounts in own.items()}


def _resources(profile: StageProfile, memory: int | None, disk: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    requests = {**profile.resources.requests, **disk["requests"]}
    limits = {**profile.resources.limits, **disk["limits"]}
    if memory is not None and memory != profile.memory:
        requests["memory"] = limits["memory"] = mebibytes(memory)
    if profile.gpu is not None:
        requests[profile.gpu.resource] = limits[profile.gpu.resource] = str(profile.gpu.count)
    claims = [{"name": claim.name} for claim in profile.resource_claims]
    return {"requests": requests, "limits": limits, **({"claims": claims} if claims else {})}


def _mounts(stage: WorkStage, settings: Settings) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "work", "mountPath": "/work"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
        {"name": "desk-token", "mountPath": DESK_TOKEN_PATH.rpartition("/")[0], "readOnly": True},
        *authority_mounts(settings),
    ]
    if stage is WorkStage.SEPARATE and (settings.model_claim or settings.model_image):
        mounts.append({"name": "models", "mountPath": "/models", "readOnly": True})
    if stage is WorkStage.FETCH:
        mounts += [{"name": v.name, "mountPath": v.mount_path, "readOnly": True} for v in settings.fetch_volumes]
        mounts += source_mounts(settings)
    return mounts


def _volumes(stage: WorkStage, settings: Settings, task: PodTask) -> list[dict[str, Any]]:
    token = {"audience": DESK_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": DESK_TOKEN_PATH.rpartition("/")[2]}
    volumes: list[dict[str, Any]] = [
        {"name": "work", "emptyDir": {"sizeLimit": mebibytes(task.work_bytes)}},
        {"name": "tmp", "emptyDir": {"sizeLimit": mebibytes(task.tmp_bytes)}},
        {"name": "desk-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        *authority_volumes(settings),
    ]
    if stage is WorkStage.SEPARATE and settings.model_image:
        image = {"reference": settings.model_image, "pullPolicy": settings.image_pull_policy}
        volumes.append({"name": "models", "image": image})
    elif stage is WorkStage.SEPARATE and settings.model_claim:
        claim = {"claimName": settings.model_claim, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    if stage is WorkStage.FETCH:
        volumes += [{"name": v.name, "configMap": {"name": v.config_map}} for v in settings.fetch_volumes]
        volumes += source_volumes(settings, settings.image_pull_policy)
    return volumes


def model_of(spec: SeparationJobSpec, settings: Settings) -> Model:
    """Return the model of a valid spec.

    Raises:
        ConfigurationError: the model does not exist.
    """
    model = resolve_model(spec.model, settings.default_model)
    if model is None:
        raise ConfigurationError(f"the model {spec.model} does not exist")
    return model
