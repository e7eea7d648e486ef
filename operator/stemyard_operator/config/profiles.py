"""Scheduling profiles: named resources and placements of the two stages' pods."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from stemyard_contract.handover import WorkStage
from stemyard_operator.config.pod_options import PodOptions, ProfileModel
from stemyard_operator.errors import ConfigurationError

_SUFFIXES: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$")
_CORES: Final = re.compile(r"^(\d+(?:\.\d+)?)(m?)$")
_MEMORY_GROWTH: Final = 2
"""Default of `maxMemory`, as a multiple of the memory limit."""
_DISK_GROWTH: Final = 4
"""Default of `maxEphemeralStorage`, as a multiple of the first attempt's."""


def quantity_bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity such as `512Mi`.

    Raises:
        ValueError: the text is not an integer or decimal number with a byte suffix.
    """
    match = _QUANTITY.match(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity of bytes such as 512Mi")
    return int(float(match[1]) * _SUFFIXES[match[2] or ""])


class Resources(ProfileModel):
    """Resource requests and limits of one container."""

    requests: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str] = Field(default_factory=dict)

    @field_validator("requests", "limits", mode="before")
    @classmethod
    def _quantities_as_text(cls, value: object) -> object:
        return {name: str(amount) for name, amount in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        for amounts in (self.requests, self.limits):
            for name in amounts.keys() & {"memory", "ephemeral-storage"}:
                quantity_bytes(amounts[name])
        return self


class Gpu(ProfileModel):
    """Extended resource that a stage requests, such as one `nvidia.com/gpu`."""

    resource: Annotated[str, Field(min_length=1)] = "nvidia.com/gpu"
    count: Annotated[int, Field(ge=1)] = 1


class ResourceClaim(ProfileModel):
    """A device by dynamic resource allocation: each pod gets a claim created from a template."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    resource_claim_template_name: Annotated[str, Field(min_length=1)]


class Worker(ProfileModel):
    """Bounds of a pod that separates several songs, one after another."""

    songs: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Songs after which it ends."""
    idle_seconds: Annotated[float, Field(ge=0, le=3600)] = 20
    """Seconds without a song after which it ends."""
    max_seconds: Annotated[float, Field(ge=60, le=86400)] = 3600
    """Seconds after which it takes no more songs."""
    prefetch: Annotated[int, Field(ge=0, le=4)] = 1
    """Songs that it downloads while another one is separated."""


class Placement(ProfileModel):
    """Scheduling constraints and priority of pods; copied to the pod template."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    affinity: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str = ""
    runtime_class_name: str = ""
    topology_spread_constraints: list[dict[str, Any]] = Field(default_factory=list)
    scheduler_name: str = ""


class StageProfile(Placement, PodOptions):
    """Resources of one stage, and where its placement and options differ from the profile's."""

    resources: Resources = Resources()
    gpu: Gpu | None = None
    resource_claims: list[ResourceClaim] = Field(default_factory=list)
    queue_name: str = ""
    """LocalQueue for the stage's Jobs (Kueue); if empty, separate uses the profile's."""
    max_memory: str | None = None
    """Maximum memory limit of attempts after an OOM kill; default: twice the memory limit."""
    max_ephemeral_storage: str | None = None
    """Maximum ephemeral storage of attempts after an eviction for exceeding it; default: four times the first's."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Device that separate computes on; default: `cuda` if `gpu` is set, else detected in the pod."""
    worker: Worker | None = None
    """Lets songs of separate share pods; default: each has a Job of its own."""

    @property
    def required_device(self) -> str | None:
        """Device that the pod must have, None if any will do."""
        return self.device or ("cuda" if self.gpu is not None else None)

    @property
    def cpu(self) -> float:
        """Requested cores; 0 if the profile requests none."""
        cores = _CORES.match(self.resources.requests.get("cpu") or self.resources.limits.get("cpu") or "")
        return float(cores[1]) / (1000 if cores[2] else 1) if cores else 0.0

    @property
    def memory(self) -> int | None:
        """Memory limit of the first attempt, in bytes; None if the profile sets none."""
        limit = self.resources.limits.get("memory")
        return quantity_bytes(limit) if limit else None

    @property
    def disk(self) -> int | None:
        """Limit of ephemeral storage of the first attempt, in bytes; None if the profile sets none."""
        limit = self.resources.limits.get("ephemeral-storage")
        return quantity_bytes(limit) if limit else None

    def largest_disk(self, first: int) -> int:
        """Return the maximum ephemeral storage of any attempt, in bytes; `first` is the first attempt's."""
        return quantity_bytes(self.max_ephemeral_storage) if self.max_ephemeral_storage else first * _DISK_GROWTH

    @property
    def largest_memory(self) -> int | None:
        """Maximum memory limit of any attempt, in bytes."""
        if self.max_memory:
            return quantity_bytes(self.max_memory)
        return self.memory * _MEMORY_GROWTH if self.memory else None


class Profile(Placement, PodOptions):
    """One named profile. Its options apply to both stages, its placement to separate only: fetch has what it sets."""

    fetch: StageProfile = StageProfile()
    separate: StageProfile = StageProfile()
    max_active: Annotated[int, Field(ge=1)] | None = None
    """Maximum concurrent separate Jobs of this profile, within the deployment's limits; Kueue's are not counted."""
    queue_name: str = ""
    """LocalQueue for separate Jobs of SeparationJobs that name none (Kueue)."""

    def stage(self, stage: WorkStage) -> StageProfile:
        """Return the resources of a stage."""
        return self.fetch if stage is WorkStage.FETCH else self.separate

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.fetch.worker is not None:
            raise ValueError("fetch.worker: only separate has workers")
        for stage in WorkStage:
            self.options(stage)
        return self

    def options(self, stage: WorkStage) -> PodOptions:
        """Return the options of a stage's pods: the profile's and the stage's own."""
        return self.merged(self.stage(stage))

    def placement(self, stage: WorkStage) -> Placement:
        """Return the placement of a stage's pods; separate takes what its stage does not set from the profile."""
        own = self.stage(stage)
        if stage is WorkStage.FETCH:
            return own
        chosen = {name: getattr(own, name) or getattr(self, name) for name in Placement.model_fields}
        return Placement.model_validate(chosen)


class _File(ProfileModel):
    profiles: Annotated[dict[str, Profile], Field(min_length=1)]


DEFAULT_PROFILES: Final = {
    "default": Profile(
        fetch=StageProfile(resources=Resources(requests={"cpu": "250m", "memory": "512Mi"}, limits={"memory": "1Gi"})),
        separate=StageProfile(resources=Resources(requests={"cpu": "1", "memory": "2Gi"}, limits={"memory": "4Gi"})),
    )
}
"""Profiles of a deployment without a profiles file."""


def load_profiles(path: Path | None) -> dict[str, Profile]:
    """Return the profiles of a YAML or JSON file `{"profiles": {name: profile}}`.

    Raises:
        ConfigurationError: the file is missing or invalid; the message names file and field.
    """
    if path is None:
        return dict(DEFAULT_PROFILES)
    try:
        return _File.model_validate(yaml.safe_load(path.read_text())).profiles
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigurationError(f"PROFILES_FILE {path}: {error}") from error
