"""The operator's settings for webhooks: who is told, what signs, and which addresses may be connected to."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from stemyard_contract.address_guard import origin_of
from stemyard_contract.event_types import EventType
from stemyard_contract.webhook import RETRY_SCHEDULE, standard_key
from stemyard_operator.config.fields import Url, http_url, words


def _usable(secret: str) -> str:
    standard_key(secret)
    return secret


def _networks(value: object) -> object:
    return tuple(ip_network(word) for word in value) if isinstance(value, tuple) else value


Secret = Annotated[str, AfterValidator(_usable)]
Hidden: Any = Field(default=None, repr=False)
Seconds = Annotated[float, Field(gt=0)]


class WebhookSettings(BaseSettings):
    """Everything a deployment can set about webhooks."""

    webhook_url: Url | None = None
    """The deployment's own consumer, told of every run. It may be http, and at a private address."""
    webhook_events: Annotated[tuple[EventType, ...], NoDecode, BeforeValidator(words)] = ()
    """What that consumer is told of; by default the three ends."""
    webhook_secret: Secret | None = Hidden
    """What webhooks are signed with; without one they are not signed."""
    webhook_secret_previous: Secret | None = Hidden
    """The secret that this one replaces, for as long as consumers still know it."""
    webhook_secrets_dir: Path | None = None
    """Folder with files named as the two variables above, and `endpoints.yaml`; read anew, and wins over them."""
    webhook_schedule: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...], NoDecode, BeforeValidator(words), Field(min_length=1, max_length=50)
    ] = RETRY_SCHEDULE
    """Seconds before each attempt, counted from the one before it."""
    webhook_timeout_seconds: Seconds = 15
    webhook_concurrency: Annotated[int, Field(ge=1)] = 64
    webhook_concurrency_per_target: Annotated[int, Field(ge=1)] = 4
    webhook_breaker_seconds: Seconds = 60
    """Longest time for which a consumer that does not answer is left alone."""
    webhook_allow_http: bool = False
    """Whether addresses from requests and SeparationJobs may be http."""
    webhook_ports: Annotated[tuple[int, ...], NoDecode, BeforeValidator(words)] = ()
    """Ports of such addresses; by default 443, and 80 for http."""
    webhook_allowed_origins: Annotated[
        tuple[Annotated[str, AfterValidator(http_url), AfterValidator(origin_of)], ...],
        NoDecode,
        BeforeValidator(words),
    ] = ()
    """Origins such as `http://10.0.0.7:8080` that are trusted as WEBHOOK_URL is, whoever names them."""
    webhook_denied_cidrs: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(words), BeforeValidator(_networks)
    ] = ()
    """Public address ranges that are refused too, such as the cluster's own."""
    webhook_proxy_url: Annotated[str, AfterValidator(http_url)] | None = Hidden
    """Proxy for all deliveries; it then is what resolves and checks addresses."""
