"""Settings: environment variables, validated once at start."""

import os
import re
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import (
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

from stemyard_contract.models import MODELS
from stemyard_contract.object_source import check_prefixes
from stemyard_contract.runtime import absent, with_authority
from stemyard_contract.validation import split_commas, variable_error_lines

_URL = TypeAdapter(AnyHttpUrl)
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")

_Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]


class SettingsError(ValueError):
    """The environment does not make sense; the message names each variable and never repeats its value."""


class Settings(BaseSettings):
    """The API's settings; each field is the environment variable of the same name in upper case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    stemyard_install_id: Annotated[str, Field(pattern=_NAME)]
    """Id of the installation; first part of every object key and Redis key."""
    stemyard_namespace: Annotated[str, Field(pattern=_NAME)]
    """Namespace in which the API creates SeparationJobs."""
    stemyard_insecure_dev: bool = False
    """Lets the API start without a key; then everybody is the key `default`."""
    api_secret_key: SecretStr | None = None
    """The key `default`, which has every scope."""
    api_keys_file: str | None = None
    """File of further keys, hashed; read again when it changes."""
    result_sharing: Literal["shared", "per-key"] = "shared"
    """Whether one separation serves all keys that ask for it, or each key has its own and sees no other."""
    port: Annotated[int, Field(ge=1, le=65535)] = 5500

    redis_url: SecretStr | None = None
    redis_ca_file: str | None = None
    """File of the certificate authorities that a rediss:// server is checked with, instead of the system's."""
    queue_names: _Names = ("default",)

    cloudflare_account_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")] | None = None
    cloudflare_api_token: SecretStr | None = None
    cloudflare_kv_namespace_id: str | None = None
    cloudflare_api_url: str = "https://api.cloudflare.com/client/v4"

    rate_limit_submits_per_minute: Annotated[int, Field(ge=0)] = 60
    """Separations a key may ask for in a minute; 0 is no limit, here and below."""
    rate_limit_reads_per_minute: Annotated[int, Field(ge=0)] = 3000
    """Other requests of a key."""
    rate_limit_anonymous_per_minute: Annotated[int, Field(ge=0)] = 60
    """Requests of one address without a valid key."""
    quota_concurrent: Annotated[int, Field(ge=0)] = 0
    """Separations of a key that may be under way at once."""
    quota_minutes_per_day: Annotated[float, Field(ge=0)] = 0.0
    """Minutes of audio separated for a key from midnight to midnight UTC."""
    api_replicas: Annotated[int, Field(ge=1)] = 1
    """Processes that share the limits which each counts for itself."""
    events_heartbeat_seconds: Annotated[float, Field(ge=0.1, le=300)] = 15.0
    """Between two signs of life on a stream of events."""
    web_enabled: bool = True
    """Whether `/` is a web page for people."""
    trusted_proxies: _Names = ()
    """Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    cors_allowed_origins: _Names = ()
    """Origins whose pages may ask the API from a browser, `*` for any; none when empty."""
    r2_access_key_id: str | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_bucket: Annotated[str, Field(min_length=3, max_length=63)] = "stemyard"
    r2_public_domain: str | None = None
    """Where the bucket is readable by everybody; then links are permanent."""
    s3_endpoint_url: str | None = None
    """Object store as pods reach it."""
    s3_public_endpoint_url: str | None = None
    """Object store as clients reach it; links for them are signed for this host."""
    s3_region: str = "auto"

    max_file_size_mb: Annotated[int, Field(ge=1, le=5 * 1024)] = 50
    """MiB of an upload; one PUT takes at most 5 GiB."""
    max_duration_seconds: Annotated[int, Field(ge=1)] = 3600
    default_model: str = "spleeter-2stems"
    enabled_models: _Names = ()
    """Names of the enabled models; only the default model if empty."""
    youtube_enabled: bool = True
    object_source_prefixes: _Names = ()
    """Prefixes of the bucket whose objects may be requested; none if empty."""

    @field_validator("api_secret_key", "redis_url", "r2_secret_access_key", "cloudflare_api_token", mode="before")
    @classmethod
    def _trim(cls, value: object) -> object:
        """Secrets that came through a file often end in a newline."""
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
    def redis_address(self) -> str | None:
        """The Redis URL with all that belongs to it."""
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
        """What `/queue/info` calls the queue."""
        return self.queue_names[0] if self.queue_names else "default"

    @property
    def max_upload_bytes(self) -> int:
        """Bytes an upload may have."""
        return self.max_file_size_mb * 1024 * 1024

    @property
    def store_endpoint(self) -> str | None:
        """Object store as pods reach it: given, or Cloudflare's for the account."""
        if self.s3_endpoint_url is None and self.cloudflare_account_id:
            return f"https://{self.cloudflare_account_id}.r2.cloudflarestorage.com"
        return self.s3_endpoint_url

    @property
    def public_store_endpoint(self) -> str | None:
        """Object store as clients reach it."""
        return self.s3_public_endpoint_url or self.store_endpoint

    @property
    def kv_configured(self) -> bool:
        """Whether there is a Cloudflare KV namespace to share counts through."""
        return bool(self.cloudflare_account_id and self.cloudflare_api_token and self.cloudflare_kv_namespace_id)

    @property
    def storage_configured(self) -> bool:
        """Whether there is an object store to talk to."""
        return bool(self.store_endpoint and self.r2_access_key_id and self.r2_secret_access_key)


def load_settings() -> Settings:
    """Return the settings of this process's environment.

    Raises:
        SettingsError: something is missing or wrong.
    """
    if missing := absent(os.environ):
        raise SettingsError("; ".join(missing))
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(variable_error_lines(error))) from None
