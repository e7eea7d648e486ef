"""The operator's settings: environment variables, read once at start-up."""

import json
import os
import socket
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, assert_never

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stemyard_contract.models import MODELS, Flavour
from stemyard_contract.object_source import check_prefixes
from stemyard_contract.runtime import absent, secrets_folder, with_authority
from stemyard_contract.separationjob import Deadlines
from stemyard_contract.validation import split_commas, variable_error_lines
from stemyard_operator.config.fields import Seconds, Url
from stemyard_operator.config.profiles import Profile, load_profiles
from stemyard_operator.config.tls_settings import TlsSettings
from stemyard_operator.config.webhook_secrets import check_secrets
from stemyard_operator.config.webhook_settings import WebhookSettings
from stemyard_operator.errors import ConfigurationError

_EXTRACTOR: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$"
_MIB: Final = 1024 * 1024
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
Version = Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)+)?$")]
Interval = Annotated[float, Field(ge=0, le=3600)]


def _refuse_generic(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse extractors that accept any URL: links would bypass the operator's own address checks."""
    if generic := {"generic", "default", "all"} & {name.lower() for name in names}:
        raise ValueError(f"{', '.join(sorted(generic))} would read any address; name the extractors of single sites")
    return names


_USER: Final = 65532
_RESTRICTED: Final = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


class SourceSettings(BaseSettings):
    """Settings for the sources of songs."""

    youtube_enabled: bool = True
    youtube_cookies_secret: str = ""
    """Secret with the key `cookies.txt`, in every watched namespace."""
    youtube_proxy_secret: str = ""
    """Secret with the key `proxyUrl`, in every watched namespace."""
    youtube_po_token_url: Url | None = None
    """Base URL of a provider of PO tokens."""
    youtube_request_interval: Interval = 0.5
    """Seconds between two requests."""
    youtube_download_delay: Interval = 0
    """Minimum seconds to wait before a download."""
    youtube_download_delay_max: Interval = 0
    """Maximum seconds to wait before a download; 0 means the minimum."""
    youtube_overlay_image: str = ""
    """Image with a newer yt-dlp, mounted as an image volume; if empty, the claim is mounted."""
    youtube_overlay_claim: str = ""
    """PersistentVolumeClaim with a newer yt-dlp, in every watched namespace; none if empty."""
    youtube_overlay_least: Version = ""
    """Oldest version of yt-dlp accepted there; empty means that of the separator image."""
    youtube_overlay_greatest: Version = ""
    """Newest version accepted there; empty means a year newer than that of the separator image."""
    youtube_extractors: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=_EXTRACTOR)], ...],
        NoDecode,
        BeforeValidator(split_commas),
        AfterValidator(_refuse_generic),
    ] = ()
    """Additional yt-dlp extractors whose links are accepted."""


class FetchVolume(BaseModel):
    """A ConfigMap that fetch pods mount read-only."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    name: str
    config_map: str
    mount_path: str


class Settings(WebhookSettings, SourceSettings, TlsSettings):
    """Settings of the operator. Field names are the environment variables in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    # this replica
    pod_name: str = Field(default_factory=lambda: f"{socket.gethostname()}_{os.getpid()}")
    """Identity in leader election; a restarted container of the same pod reacquires its lease immediately."""
    pod_namespace: str = "default"
    watch_namespaces: CommaSeparated = ()
    api_namespace: str = Field(default_factory=lambda known: known["pod_namespace"])
    """Namespace in which the API creates SeparationJobs; only there do the labels and claims of the API count."""
    lease_name: str = "stemyard-operator"
    health_port: int = 8086
    desk_port: int = 8085
    desk_url: str = "http://stemyard-desk:8085"
    """Base URL of the desk for separator pods."""

    # the installation
    stemyard_install_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    redis_url: str | None = None
    redis_ca_file: str | None = None
    """PEM file of the CAs that verify a rediss:// server, instead of the system's."""
    cloudflare_account_id: str | None = None
    r2_access_key_id: str = ""
    r2_secret_access_key: Annotated[str, Field(repr=False)] = ""
    r2_bucket: str = "stemyard"
    r2_public_domain: str | None = None
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
    s3_region: str = "auto"

    # limits on requests
    max_file_size_mb: Annotated[int, Field(gt=0)] = 50
    max_duration_seconds: Seconds = 3600
    default_model: str = "spleeter-2stems"
    enabled_models: CommaSeparated = ()
    object_source_prefixes: CommaSeparated = ()
    """Folders of the bucket whose objects may be used as sources; none if empty."""

    # the Jobs
    separator_image_cpu: str = "ghcr.io/stemyard/separator:latest-cpu"
    separator_image_cuda: str = "ghcr.io/stemyard/separator:latest-cuda"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: CommaSeparated = ()
    separator_service_account: str = "stemyard-separator"
    model_claim: str = ""
    model_image: str = ""
    """Image with the model folder, mounted as an image volume; if empty, the claim is mounted."""
    secrets_as_files: bool = False
    """Whether pods get secrets as files instead of variables."""
    separator_extra_env: dict[str, str] = Field(default_factory=dict)
    separator_pod_labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the pods of both stages; a profile's take precedence, as with the annotations."""
    separator_pod_annotations: dict[str, str] = Field(default_factory=dict)
    pod_security_context: dict[str, Any] = Field(default_factory=lambda: dict(_RESTRICTED))
    """securityContext of the pods; it must refuse root."""
    fetch_host_users: bool | None = None
    """hostUsers of fetch pods: False gives them a user namespace of their own; None leaves it to the cluster."""
    separator_fetch_volumes_file: Path | None = None
    profiles_file: Path | None = None

    # concurrency and intervals
    max_active: Annotated[int, Field(ge=1, validation_alias=AliasChoices("max_active", "worker_concurrency"))] = 1
    max_active_fetch: Annotated[int, Field(ge=1)] = 4
    max_active_per_namespace: Annotated[int, Field(ge=0)] = 0
    max_active_fetch_per_namespace: Annotated[int, Field(ge=0)] = 0
    """Maximum concurrent fetches in one namespace; 0 means `max_active_fetch`."""
    max_active_fetch_per_host: Annotated[int, Field(ge=0)] = 0
    """Maximum concurrent fetches from one host, all of YouTube being one; 0 means no limit per host."""
    fetch_spacing_seconds: Annotated[float, Field(ge=0)] = 0
    """Minimum seconds between the starts of two fetches from one host."""
    max_deadline_fetch: Annotated[int, Field(ge=10)] = 86400
    """Longest `spec.deadlines.fetch` in seconds; a longer one is shortened to it, and so are the others."""
    max_deadline_queue: Annotated[int, Field(ge=10)] = 604800
    max_deadline_start: Annotated[int, Field(ge=10)] = 86400
    max_deadline_separate: Annotated[int, Field(ge=10)] = 86400
    unscheduled_timeout_seconds: Annotated[float, Field(ge=0)] = 1200
    """Seconds after which a Job without a scheduled pod gives its slot to others and is queued again; 0 means never."""
    requeue_base_seconds: Seconds = 60
    requeue_max_seconds: Seconds = 3600
    retry_base_seconds: Seconds = 10
    retry_max_seconds: Seconds = 300
    resync_seconds: Seconds = 120
    workers: Annotated[int, Field(ge=1, le=64)] = 8

    kueue_enabled: bool = False
    """Whether Jobs may be queued by Kueue: they get queue-name labels, and their Workloads are watched."""
    kueue_api_version: Annotated[str, Field(pattern=r"^v[0-9][a-z0-9]*$")] = "v1beta2"

    # retention
    ttl_failed_seconds: Annotated[int, Field(ge=0)] = 7 * 86400
    """Maximum time to keep a failed SeparationJob, whatever the TTL in its spec."""
    ttl_cancelled_seconds: Annotated[int, Field(ge=0)] = 86400
    """Maximum time to keep a cancelled SeparationJob."""
    sweep_seconds: Annotated[float, Field(ge=0)] = 86400
    """Seconds between sweeps of the bucket, and the minimum age of an orphan; 0 disables sweeps."""
    sweep_dry_run: bool = False
    """Log what a sweep would remove without removing it."""
    sweep_force: date | None = None
    """Day, in UTC, on which sweeps ignore their safety limit."""

    @field_validator("object_source_prefixes")
    @classmethod
    def _check_prefixes(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return check_prefixes(value, info.data.get("stemyard_install_id", ""))

    @field_validator("pod_security_context")
    @classmethod
    def _refuses_root(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("runAsNonRoot") is not True or value.get("runAsUser") == 0:
            raise ValueError("must have runAsNonRoot: true, and no runAsUser 0: the pods process media of strangers")
        return value

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        """Scheduling profiles by name.

        Raises:
            ConfigurationError: the profiles file is invalid.
        """
        return load_profiles(self.profiles_file)

    @cached_property
    def fetch_volumes(self) -> tuple[FetchVolume, ...]:
        """ConfigMaps mounted into fetch pods.

        Raises:
            ConfigurationError: the file that lists them is invalid.
        """
        path = self.separator_fetch_volumes_file
        if path is None:
            return ()
        try:
            return TypeAdapter(tuple[FetchVolume, ...]).validate_python(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"SEPARATOR_FETCH_VOLUMES_FILE {path}: {error}") from error

    @property
    def redis_address(self) -> str | None:
        """The Redis URL with the CA file."""
        return with_authority(self.redis_url, self.redis_ca_file) if self.redis_url else None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The watched namespaces."""
        return self.watch_namespaces or (self.pod_namespace,)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the enabled models."""
        return self.enabled_models or (self.default_model,)

    @property
    def max_bytes(self) -> int:
        """Maximum bytes of encoded input that fetch accepts."""
        return self.max_file_size_mb * _MIB

    @property
    def namespace_limit(self) -> int:
        """Maximum concurrent separate Jobs in one namespace."""
        return self.max_active_per_namespace or self.max_active

    @property
    def namespace_fetch_limit(self) -> int:
        """Maximum concurrent fetch Jobs in one namespace."""
        return self.max_active_fetch_per_namespace or self.max_active_fetch

    def deadlines(self, requested: Deadlines) -> Deadlines:
        """Return the deadlines of a SeparationJob, none of them longer than the deployment allows."""
        most = {name: getattr(self, f"max_deadline_{name}") for name in Deadlines.model_fields}
        shorter = {name: limit for name, limit in most.items() if getattr(requested, name) > limit}
        return requested.model_copy(update=shorter) if shorter else requested

    @property
    def endpoint_url(self) -> str | None:
        """Endpoint of the object store for pods; None means AWS."""
        if self.s3_endpoint_url:
            return self.s3_endpoint_url.rstrip("/")
        account = self.cloudflare_account_id
        return f"https://{account}.r2.cloudflarestorage.com" if account else None

    @property
    def public_endpoint_url(self) -> str | None:
        """Endpoint of the object store for clients outside the cluster."""
        return self.s3_public_endpoint_url.rstrip("/") if self.s3_public_endpoint_url else self.endpoint_url

    @property
    def public_base_url(self) -> str | None:
        """Base URL of a publicly readable bucket; None if links are presigned."""
        domain = (self.r2_public_domain or "").rstrip("/")
        if not domain:
            return None
        return domain if "://" in domain else f"https://{domain}"

    def image(self, flavour: Flavour) -> str:
        """Return the separator image of a flavour."""
        match flavour:
            case Flavour.CPU:
                return self.separator_image_cpu
            case Flavour.CUDA:
                return self.separator_image_cuda
            case _:
                assert_never(flavour)


def load_settings() -> Settings:
    """Return the settings of this process after checking them and the files they name.

    Raises:
        ConfigurationError: a variable or file is invalid; the message names it.
    """
    if missing := absent(os.environ):
        raise ConfigurationError("; ".join(missing))
    try:
        folder = secrets_folder(os.environ)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    try:
        settings = Settings(_secrets_dir=folder)
    except ValidationError as error:
        raise ConfigurationError(f"settings: {'; '.join(variable_error_lines(error))}") from error
    unknown = sorted(set(settings.models) - set(MODELS))
    if unknown or settings.default_model not in settings.models:
        raise ConfigurationError(
            f"ENABLED_MODELS: {', '.join(settings.models)}; every one, and DEFAULT_MODEL {settings.default_model}, "
            f"must be among {', '.join(sorted(MODELS))}, and the default must be enabled"
        )
    if settings.desk_tls_dir is not None and not settings.desk_url.startswith("https://"):
        raise ConfigurationError("DESK_TLS_DIR is set, so DESK_URL must begin with https://")
    _ = settings.profiles, settings.fetch_volumes
    for name, profile in settings.profiles.items():
        queues = (profile.queue_name, profile.fetch.queue_name, profile.separate.queue_name)
        if any(queues) and not settings.kueue_enabled:
            raise ConfigurationError(f"PROFILES_FILE: {name} names a queue of Kueue; set KUEUE_ENABLED as well")
    check_secrets(settings)
    return settings
