"""Scheduling profiles: named resources and placements of the two stages' pods."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from stemyard_contract.handover import WorkStage
from stemyard_operator.errors import ConfigurationError

_SUFFIXES: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$")
_CORES: Final = re.compile(r"^(\d+(?:\.\d+)?)(m?)$")
_MEMORY_GROWTH: Final = 2
"""Default of `maxMemory`, as a multiple of the memory limit."""


def quantity_bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity such as `512Mi`.

    Raises:
        ValueError: the text is not an integer or decimal number with a byte suffix.
    """
    match = _QUANTITY.match(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity of bytes such as 512Mi")
    return int(float(match[1]) * _SUFFIXES[match[2] or ""])


class _ProfileModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Resources(_ProfileModel):
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
            if "memory" in amounts:
                quantity_bytes(amounts["memory"])
        return self


class Gpu(_ProfileModel):
    """Extended resource that a stage requests, such as one `nvidia.com/gpu`."""

    resource: Annotated[str, Field(min_length=1)] = "nvidia.com/gpu"
    count: Annotated[int, Field(ge=1)] = 1


class ResourceClaim(_ProfileModel):
    """A device by dynamic resource allocation: each pod gets a claim created from a template."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    resource_claim_template_name: Annotated[str, Field(min_length=1)]


class Placement(_ProfileModel):
    """Scheduling constraints and priority of pods; copied to the pod template."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    affinity: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str = ""
    runtime_class_name: str = ""
    topology_spread_constraints: list[dict[str, Any]] = Field(default_factory=list)


class StageProfile(Placement):
    """Resources of one stage, and where its placement differs from the profile's."""

    resources: Resources = Resources()
    gpu: Gpu | None = None
    resource_claims: list[ResourceClaim] = Field(default_factory=list)
    queue_name: str = ""
    """LocalQueue for the stage's Jobs (Kueue); if empty, separate uses the profile's."""
    max_memory: str | None = None
    """Maximum memory limit of attempts after an OOM kill; default: twice the memory limit."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Device that separate computes on; default: `cuda` if `gpu` is set, else detected in the pod."""

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
    def largest_memory(self) -> int | None:
        """Maximum memory limit of any attempt, in bytes."""
        if self.max_memory:
            return quantity_bytes(self.max_memory)
        return self.memory * _MEMORY_GROWTH if self.memory else None


class Profile(Placement):
    """One named profile. Its placement applies to separate only; fetch uses only what `fetch` sets."""

    fetch: StageProfile = StageProfile()
    separate: StageProfile = StageProfile()
    queue_name: str = ""
    """LocalQueue for separate Jobs of SeparationJobs that name none (Kueue)."""

    def stage(self, stage: WorkStage) -> StageProfile:
        """Return the resources of a stage."""
        return self.fetch if stage is WorkStage.FETCH else self.separate

    def placement(self, stage: WorkStage) -> Placement:
        """Return the placement of a stage's pods; separate takes what its stage does not set from the profile."""
        own = self.stage(stage)
        if stage is WorkStage.FETCH:
            return own
        chosen = {name: getattr(own, name) or getattr(self, name) for name in Placement.model_fields}
        return Placement.model_validate(chosen)


class _File(_ProfileModel):
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
