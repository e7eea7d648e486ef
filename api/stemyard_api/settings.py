"""Settings: environment variables, validated once at start."""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stemyard_api.connections import ConnectionLimits
from stemyard_contract.address_guard import Rules, origin_of
from stemyard_contract.key_webhooks import WEBHOOKS_LIMIT
from stemyard_contract.models import MODELS
from stemyard_contract.object_source import check_prefixes
from stemyard_contract.runtime import absent, secrets_folder, with_authority
from stemyard_contract.validation import split_commas, variable_error_lines
from stemyard_contract.webhook_guard import WebhookGuard
from stemyard_contract.webhook_secrets import MASTER_LENGTH, MasterSecrets

_URL = TypeAdapter(AnyHttpUrl)
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")

_Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]


DOCS_URL = "https://github.com/stemyard/stemyard/blob/main/docs/06-web-page.md#getting-a-key"


class SettingsError(ValueError):
    """The environment is invalid; the message names each variable and never repeats its value."""


class Settings(BaseSettings):
    """The API's settings; each field is the environment variable of the same name in upper case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    stemyard_install_id: Annotated[str, Field(pattern=_NAME)]
    """Id of the installation; first part of every object key and Redis key."""
    stemyard_namespace: Annotated[str, Field(pattern=_NAME)]
    """Namespace in which the API creates SeparationJobs."""
    stemyard_insecure_dev: bool = False
    """Lets the API start without a key; then every caller is the key `default`."""
    api_secret_key: SecretStr | None = None
    """API key of the id `default`, with every scope."""
    api_keys_file: str | None = None
    """File of further keys, hashed; reloaded when it changes."""
    result_sharing: Literal["shared", "per-key"] = "shared"
    """Whether keys share separations, or each key has its own and sees no others."""
    port: Annotated[int, Field(ge=1, le=65535)] = 5500
    health_port: Annotated[int, Field(ge=1, le=65535)] = 5501
    """Port of metrics and probes, which no Ingress routes and no connection limit of clients affects."""

    redis_url: SecretStr | None = None
    redis_ca_file: str | None = None
    """File of certificate authorities that verify a rediss:// server, instead of the system's."""
    queue_names: _Names = ("default",)

    cloudflare_account_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")] | None = None
    cloudflare_api_token: SecretStr | None = None
    cloudflare_kv_namespace_id: str | None = None
    cloudflare_api_url: str = "https://api.cloudflare.com/client/v4"

    rate_limit_submits_per_minute: Annotated[int, Field(ge=0)] = 60
    """Separations that a key may request per minute; 0 is no limit, here and below."""
    rate_limit_reads_per_minute: Annotated[int, Field(ge=0)] = 3000
    """Other requests of a key per minute."""
    rate_limit_anonymous_per_minute: Annotated[int, Field(ge=0)] = 60
    """Requests of an address without a valid key per minute."""
    quota_concurrent: Annotated[int, Field(ge=0)] = 0
    """Separations of a key that may be under way concurrently."""
    quota_minutes_per_day: Annotated[float, Field(ge=0)] = 0.0
    """Minutes of audio separated for a key per day (UTC)."""
    quota_upload_mb_per_day: Annotated[int, Field(ge=0)] = 0
    """MiB of uploads that a key may announce per day (UTC)."""
    quota_streams: Annotated[int, Field(ge=0)] = 500
    """Event streams of a key that may be open concurrently, in each process."""
    api_replicas: Annotated[int, Field(ge=1)] = 1
    """Number of processes that share the limits that are counted in memory."""
    max_downloads: Annotated[int, Field(ge=1, le=256)] = 16
    """Archives of stems that this process sends concurrently."""
    share_secret: SecretStr | None = None
    """Secret that signs share links; the default is derived from R2_SECRET_ACCESS_KEY, else API_SECRET_KEY."""
    share_secret_previous: SecretStr | None = None
    """During rotation, the secret that SHARE_SECRET replaces: its links stay valid."""
    share_max_seconds: Annotated[int, Field(ge=0)] = 30 * 24 * 3600
    """Longest lifetime of a share link; 0 refuses new links and those that exist."""
    events_heartbeat_seconds: Annotated[float, Field(ge=0.1, le=300)] = 4.0
    """Interval of heartbeats on a stream of events; below the shortest usual read timeout of clients, httpx's 5 s."""
    web_enabled: bool = True
    """Whether `/` serves the web page."""
    web_contact: str | None = None
    """Who gives out keys, as the page names them to visitors without one: an e-mail address or an http(s) URL."""
    web_docs_url: str = DOCS_URL
    """Where the page sends visitors to read how to get a key."""
    trusted_proxies: _Names = ()
    """Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are trusted."""
    cors_allowed_origins: _Names = ()
    """Origins whose pages may call the API from a browser, `*` for any; none if empty."""
    max_connections: Annotated[int, Field(ge=0)] = 4096
    """Connections of this process; 0 is no limit, here and below."""
    max_connections_per_address: Annotated[int, Field(ge=0)] = 1024
    """Connections of one address, unless it is a trusted proxy's."""
    idle_timeout_seconds: Annotated[float, Field(gt=0)] = 75.0
    """Time that a connection may be without a request."""
    header_timeout_seconds: Annotated[float, Field(gt=0)] = 20.0
    """Time for a request's headers to arrive."""
    body_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Time for a request's body to arrive."""
    r2_access_key_id: str | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_bucket: Annotated[str, Field(min_length=3, max_length=63)] = "stemyard"
    r2_public_domain: str | None = None
    """Public domain of the bucket, if it has one; then links are permanent."""
    s3_endpoint_url: str | None = None
    """Endpoint of the object store for pods."""
    s3_public_endpoint_url: str | None = None
    """Endpoint of the object store for clients; their links are signed for this host."""
    s3_region: str = "auto"
    s3_ca_file: str | None = None
    """File of certificate authorities that verify the endpoint for pods, instead of the system's."""
    s3_workload_identity: bool = False
    """Whether the keys of the object store come from boto3's default chain, such as a ServiceAccount's role."""

    max_file_size_mb: Annotated[int, Field(ge=1, le=5 * 1024)] = 50
    """Maximum size of an upload in MiB; one PUT takes at most 5 GiB."""
    max_duration_seconds: Annotated[int, Field(ge=1)] = 3600
    default_model: str = "spleeter-2stems"
    enabled_models: _Names = ()
    """Names of the enabled models; only the default model if empty."""
    youtube_enabled: bool = True
    object_source_prefixes: _Names = ()
    """Prefixes of the bucket whose objects may be requested; none if empty."""

    webhooks_per_key: Annotated[int, Field(ge=0, le=WEBHOOKS_LIMIT)] = 10
    """Webhooks that a key may register; 0 refuses new ones."""
    webhook_master_secret: Annotated[SecretStr, Field(min_length=MASTER_LENGTH)] | None = None
    """Secret from which those of registered webhooks are derived, as set for the operator; without one none can be."""
    webhook_master_secret_previous: Annotated[SecretStr, Field(min_length=MASTER_LENGTH)] | None = None
    """During rotation, the secret that WEBHOOK_MASTER_SECRET replaces."""
    webhook_url: str | None = None
    """The deployment's own consumer; this and the four below are set as the operator's, which sends the webhooks."""
    webhook_allow_http: bool = False
    """Whether webhooks that requests name may be http."""
    webhook_ports: Annotated[tuple[int, ...], NoDecode, BeforeValidator(split_commas)] = ()
    """Ports of such webhooks; by default 443, and 80 for http."""
    webhook_allowed_origins: Annotated[
        tuple[Annotated[str, AfterValidator(origin_of)], ...], NoDecode, BeforeValidator(split_commas)
    ] = ()
    """Origins that may be http, private or on another port."""
    webhook_denied_cidrs: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(split_commas)] = ()
    """Public address ranges that are refused too, such as the cluster's own."""

    @field_validator(
        *("api_secret_key", "redis_url", "r2_secret_access_key", "cloudflare_api_token"),
        *("share_secret", "share_secret_previous", "webhook_master_secret", "webhook_master_secret_previous"),
        mode="before",
    )
    @classmethod
    def _trim(cls, value: object) -> object:
        """Strip secrets: those read from a file often end in a newline."""
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("r2_public_domain", "s3_endpoint_url", "s3_public_endpoint_url", "cloudflare_api_url")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = value.strip()
        url = url if "://" in url else f"https://{url}"
        _URL.validate_python(url)
        return url.rstrip("/")

    @field_validator("web_contact")
    @classmethod
    def _contact(cls, value: str | None) -> str | None:
        if value is None or _EMAIL.fullmatch(value):
            return value
        try:
            return str(_URL.validate_python(value))
        except ValidationError:
            raise ValueError("must be an e-mail address or a URL that starts with https://") from None

    @field_validator("web_docs_url")
    @classmethod
    def _docs(cls, value: str) -> str:
        return str(_URL.validate_python(value))

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network, strict=False)
        return value

    @field_validator("cors_allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("must be origins as browsers send them, such as https://app.example.com, or *")
        return value

    @model_validator(mode="after")
    def _key_or_insecure(self) -> Self:
        if not self.requires_key and not self.stemyard_insecure_dev:
            raise ValueError(
                "API_SECRET_KEY is not set; set it, or API_KEYS_FILE, "
                "or STEMYARD_INSECURE_DEV=true to run without a key"
            )
        return self

    @model_validator(mode="after")
    def _models_exist(self) -> Self:
        for name in self.models:
            if name not in MODELS:
                raise ValueError(f"ENABLED_MODELS and DEFAULT_MODEL know no {name!r}; choose from {sorted(MODELS)}")
        if self.default_model not in self.models:
            raise ValueError("DEFAULT_MODEL is not one of ENABLED_MODELS")
        return self

    @field_validator("object_source_prefixes")
    @classmethod
    def _folders(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return check_prefixes(value, info.data.get("stemyard_install_id", ""))

    @property
    def share_secrets(self) -> tuple[str, ...]:
        """Secrets of share links, the one that signs first; empty if sharing is disabled."""
        if self.share_max_seconds == 0:
            return ()
        fallback = self.r2_secret_access_key or self.api_secret_key
        given = (self.share_secret, self.share_secret_previous) if self.share_secret else (fallback,)
        return tuple(secret.get_secret_value() for secret in given if secret is not None)

    @property
    def master_secrets(self) -> MasterSecrets:
        """The secrets from which those of registered webhooks are derived, the current one first."""
        given = (self.webhook_master_secret, self.webhook_master_secret_previous)
        known = [secret.get_secret_value() for secret in given if secret] if self.webhook_master_secret else []
        return MasterSecrets(self.stemyard_install_id, known)

    @property
    def webhook_guard(self) -> WebhookGuard:
        """Which URLs webhooks may be sent to."""
        rules = Rules(self.webhook_allow_http, frozenset(self.webhook_ports), self.webhook_denied_cidrs)
        return WebhookGuard(rules, self.webhook_url, frozenset(self.webhook_allowed_origins))

    @property
    def connection_limits(self) -> ConnectionLimits:
        """Limits of connections to this process."""
        return ConnectionLimits(
            header_seconds=self.header_timeout_seconds,
            body_seconds=self.body_timeout_seconds,
            idle_seconds=self.idle_timeout_seconds,
            total=self.max_connections,
            per_address=self.max_connections_per_address,
            proxies=tuple(ip_network(network, strict=False) for network in self.trusted_proxies),
        )

    @property
    def redis_address(self) -> str | None:
        """The Redis URL with its certificate authority."""
        return with_authority(self.redis_url.get_secret_value(), self.redis_ca_file) if self.redis_url else None

    @property
    def requires_key(self) -> bool:
        """Whether an API key is required."""
        return self.api_secret_key is not None or self.api_keys_file is not None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the enabled models."""
        return self.enabled_models or (self.default_model,)

    @property
    def results_shared(self) -> bool:
        """Whether keys share separations and see each other's."""
        return self.result_sharing == "shared"

    @property
    def queue_name(self) -> str:
        """Name of the queue in `/queue/info`."""
        return self.queue_names[0] if self.queue_names else "default"

    @property
    def max_upload_bytes(self) -> int:
        """Maximum size of an upload in bytes."""
        return self.max_file_size_mb * 1024 * 1024

    @property
    def store_endpoint(self) -> str | None:
        """Endpoint of the object store for pods: as set, or Cloudflare's for the account."""
        if self.s3_endpoint_url is None and self.cloudflare_account_id:
            return f"https://{self.cloudflare_account_id}.r2.cloudflarestorage.com"
        return self.s3_endpoint_url

    @property
    def public_store_endpoint(self) -> str | None:
        """Endpoint of the object store for clients."""
        return self.s3_public_endpoint_url or self.store_endpoint

    @property
    def kv_configured(self) -> bool:
        """Whether a Cloudflare KV namespace is configured to share counts."""
        return bool(self.cloudflare_account_id and self.cloudflare_api_token and self.cloudflare_kv_namespace_id)

    @property
    def storage_configured(self) -> bool:
        """Whether an object store is configured: its endpoint, and keys or where to get them."""
        keys = self.r2_access_key_id and self.r2_secret_access_key
        return bool(self.store_endpoint and (keys or self.s3_workload_identity))


def load_settings() -> Settings:
    """Return the settings of this process's environment.

    Raises:
        SettingsError: a variable is missing or invalid.
    """
    if missing := absent(os.environ):
        raise SettingsError("; ".join(missing))
    try:
        folder = secrets_folder(os.environ)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    try:
        return Settings(_secrets_dir=folder)
    except ValidationError as error:
        raise SettingsError("; ".join(variable_error_lines(error))) from None
