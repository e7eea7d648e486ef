"""Fields of a profile that the pods of both stages get: labels, annotations, name resolution, extra volumes."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

RESERVED_VOLUMES: Final = frozenset(
    {"work", "tmp", "desk-token", "models", "youtube-cookies", "private", "stemyard-ca", "youtube-proxy"}
)
"""Names of the volumes that Stemyard itself mounts."""
RESERVED_FOLDERS: Final = ("/work", "/tmp", "/models", "/var/run/secrets", "/run/stemyard")  # noqa: S108 - in a pod
"""Folders that Stemyard itself mounts something at or below."""
VOLUME_TYPES: Final = frozenset({"configMap", "secret", "persistentVolumeClaim", "csi", "image"})
_RESERVED_PREFIXES: Final = ("stemyard.dev/", "batch.kubernetes.io/")
_RESERVED_LABELS: Final = frozenset(
    {
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/component",
        "kueue.x-k8s.io/queue-name",
        "job-name",
        "controller-uid",
    }
)


class ProfileModel(BaseModel):
    """Base of everything in a profile: camelCase, immutable, without unknown fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class HostAlias(ProfileModel):
    """An entry of the pods' `/etc/hosts`."""

    ip: Annotated[str, Field(min_length=1)]
    hostnames: Annotated[list[str], Field(min_length=1)]


class DnsConfig(ProfileModel):
    """DNS parameters of the pods, added to those of the policy."""

    nameservers: list[str] = Field(default_factory=list)
    searches: list[str] = Field(default_factory=list)
    options: list[dict[str, str]] = Field(default_factory=list)


class VolumeMount(ProfileModel):
    """Where an extra volume is mounted, always read-only."""

    name: str
    mount_path: str
    sub_path: str = ""

    @field_validator("mount_path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{value} must be an absolute path without '..'")
        for folder in map(PurePosixPath, RESERVED_FOLDERS):
            if path.is_relative_to(folder) or folder.is_relative_to(path):
                raise ValueError(f"{value} would hide {folder}, which Stemyard mounts; choose another path")
        return value


class PodOptions(ProfileModel):
    """Options of the Jobs and pods of both stages; what a stage sets is added, and takes precedence."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of Jobs and pods."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of Jobs and pods."""
    host_aliases: list[HostAlias] = Field(default_factory=list)
    dns_policy: Literal["ClusterFirst", "None"] | None = None
    """How names are resolved; pods must resolve the names of the desk and the object store."""
    dns_config: DnsConfig | None = None
    image_pull_secrets: list[str] = Field(default_factory=list)
    """Names of pull secrets, in addition to the deployment's."""
    extra_volumes: list[dict[str, Any]] = Field(default_factory=list)
    extra_volume_mounts: list[VolumeMount] = Field(default_factory=list)

    @field_validator("labels", "annotations")
    @classmethod
    def _check_names(cls, value: dict[str, str]) -> dict[str, str]:
        if own := [name for name in value if name in _RESERVED_LABELS or name.startswith(_RESERVED_PREFIXES)]:
            raise ValueError(
                f"{', '.join(own)}: set by Stemyard or Kubernetes; remove it (a queue is set by queueName)"
            )
        return value

    @field_validator("extra_volumes")
    @classmethod
    def _check_volumes(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for volume in value:
            types = volume.keys() - {"name"}
            if "name" not in volume or len(types) != 1 or not types <= VOLUME_TYPES:
                raise ValueError(f"{volume}: give each volume a name and one of {', '.join(sorted(VOLUME_TYPES))}")
            if volume["name"] in RESERVED_VOLUMES:
                raise ValueError(f"{volume['name']} is the name of a volume of Stemyard; choose another")
        return value

    def merged(self, stage: "PodOptions") -> "PodOptions":
        """Return these options with those of a stage, which take precedence."""
        return PodOptions(
            labels={**self.labels, **stage.labels},
            annotations={**self.annotations, **stage.annotations},
            host_aliases=[*self.host_aliases, *stage.host_aliases],
            dns_policy=stage.dns_policy or self.dns_policy,
            dns_config=stage.dns_config or self.dns_config,
            image_pull_secrets=[*self.image_pull_secrets, *stage.image_pull_secrets],
            extra_volumes=[*self.extra_volumes, *stage.extra_volumes],
            extra_volume_mounts=[*self.extra_volume_mounts, *stage.extra_volume_mounts],
        ).checked()

    def checked(self) -> Self:
        """Return these options unchanged.

        Raises:
            ValueError: the fields contradict each other.
        """
        names = [volume["name"] for volume in self.extra_volumes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"extraVolumes has {', '.join(twice)} twice; rename one")
        if missing := sorted({mount.name for mount in self.extra_volume_mounts} - set(names)):
            raise ValueError(f"extraVolumeMounts mounts {', '.join(missing)}, which extraVolumes does not have")
        if self.dns_policy == "None" and not (self.dns_config and self.dns_config.nameservers):
            raise ValueError("dnsPolicy None needs dnsConfig.nameservers")
        return self
