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
from stemyard_operator.config.profiles import Placement, StageProfile
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.jobs.disk import fetch_workspace, mebibytes, separate_workspace
from stemyard_operator.jobs.kueue import queue_labels, queue_of
from stemyard_operator.jobs.sources import source_environment, source_mounts, source_volumes
from stemyard_operator.model.separation import Separation

JOB_LABELS: Final = {LABEL_MANAGED_BY: MANAGED_BY}
"""Label selector of the operator's Jobs."""
JOB_TTL_SECONDS: Final = 3600
_USER: Final = 65532
_GRACE_SECONDS: Final = 10
_TOKEN_SECONDS: Final = 3600
_TMP: Final = "64Mi"
_CONTAINER: Final = "separator"


@dataclass(frozen=True, slots=True)
class Creation:
    """A Job to create."""

    stage: WorkStage
    name: str
    manifest: Mapping[str, Any]
    queue: str = ""
    """Kueue queue that limits it instead of the operator's own limits."""


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
    labels = _labels(separation, stage)
    metadata = {
        "name": name,
        "namespace": separation.namespace,
        "labels": {**labels, **queue_labels(separation, stage, settings)},
        "ownerReferences": [_owner(separation)],
    }
    pod_metadata = {"labels": labels, "annotations": _NO_CONSOLIDATION}
    template = {"metadata": pod_metadata, "spec": _pod(separation, stage, settings, memory, fetched)}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {**_ONE_POD, "ttlSecondsAfterFinished": JOB_TTL_SECONDS, "template": template},
    }
    return Creation(stage, name, manifest, queue_of(separation, stage, settings))


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


def _pod(
    separation: Separation, stage: WorkStage, settings: Settings, memory: int | None, fetched: MarkReference | None
) -> dict[str, Any]:
    spec = separation.spec
    profile = settings.profiles[spec.profile]
    deadline = spec.deadlines.fetch if stage is WorkStage.FETCH else spec.deadlines.separate
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": deadline,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "serviceAccountName": settings.separator_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(separation, stage, settings, memory, fetched)],
        "volumes": _volumes(separation, stage, settings),
        **_placement(profile.placement(stage)),
        **_claims(profile.stage(stage)),
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }


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
    }
)


def _container(
    separation: Separation, stage: WorkStage, settings: Settings, memory: int | None, fetched: MarkReference | None
) -> dict[str, Any]:
    flavour = Flavour.CPU if stage is WorkStage.FETCH else model_of(separation.spec, settings).flavour
    profile = settings.profiles[separation.spec.profile].stage(stage)
    return {
        "name": _CONTAINER,
        "image": settings.image(flavour),
        "imagePullPolicy": settings.image_pull_policy,
        "env": _environment(separation, stage, settings, fetched),
        "resources": _resources(profile, memory, _workspace(separation, stage, settings)),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": _mounts(stage, settings),
    }


def _environment(
    separation: Separation, stage: WorkStage, settings: Settings, fetched: MarkReference | None
) -> list[dict[str, Any]]:
    values = {
        ASSIGNMENT_VARIABLE: assignment(separation, stage, settings, fetched).dump(),
        "STEMYARD_WORK_DIR": "/work",
        "STEMYARD_MODEL_DIR": "/models",
        "HOME": "/tmp",  # noqa: S108 - the pod's own emptyDir
        **settings.separator_extra_env,
    }
    pod_uid = {"name": POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    own = source_environment(settings) if stage is WorkStage.FETCH else _compute_environment(separation, settings)
    variables = [{"name": name, "value": value} for name, value in values.items()]
    return [*variables, *(each for each in own if each["name"] not in values), pod_uid]


def _compute_environment(separation: Separation, settings: Settings) -> list[dict[str, Any]]:
    """Return the device that separate must use: a GPU requested by the profile, for an engine that supports it."""
    device = settings.profiles[separation.spec.profile].separate.required_device
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
        desk_url=settings.desk_url.rstrip("/"),
        youtube_enabled=settings.youtube_enabled,
        fetched=fetched if stage is WorkStage.SEPARATE else None,
    )


def _workspace(separation: Separation, stage: WorkStage, settings: Settings) -> int:
    if stage is WorkStage.FETCH:
        return fetch_workspace(settings.max_bytes, settings.max_duration_seconds)
    source = separation.status.source
    seconds = source.duration if source and source.duration is not None else settings.max_duration_seconds
    return separate_workspace(seconds, len(separation.spec.stems), separation.spec.output)


def _resources(profile: StageProfile, memory: int | None, workspace: int) -> dict[str, Any]:
    requests, limits = dict(profile.resources.requests), dict(profile.resources.limits)
    disk = mebibytes(workspace)
    requests.setdefault("ephemeral-storage", disk)
    limits.setdefault("ephemeral-storage", disk)
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
    ]
    if stage is WorkStage.SEPARATE and (settings.model_claim or settings.model_image):
        mounts.append({"name": "models", "mountPath": "/models", "readOnly": True})
    if stage is WorkStage.FETCH:
        mounts += [{"name": v.name, "mountPath": v.mount_path, "readOnly": True} for v in settings.fetch_volumes]
        mounts += source_mounts(settings)
    return mounts


def _volumes(separation: Separation, stage: WorkStage, settings: Settings) -> list[dict[str, Any]]:
    token = {"audience": DESK_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": DESK_TOKEN_PATH.rpartition("/")[2]}
    volumes: list[dict[str, Any]] = [
        {"name": "work", "emptyDir": {"sizeLimit": mebibytes(_workspace(separation, stage, settings))}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP}},
        {"name": "desk-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
    ]
    if stage is WorkStage.SEPARATE and settings.model_image:
        image = {"reference": settings.model_image, "pullPolicy": settings.image_pull_policy}
        volumes.append({"name": "models", "image": image})
    elif stage is WorkStage.SEPARATE and settings.model_claim:
        claim = {"claimName": settings.model_claim, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    if stage is WorkStage.FETCH:
        volumes += [{"name": v.name, "configMap": {"name": v.config_map}} for v in settings.fetch_volumes]
        volumes += source_volumes(settings)
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
