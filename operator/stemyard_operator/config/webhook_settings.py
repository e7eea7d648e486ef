"""The operator's settings for webhooks: consumers, secrets, the retry schedule, and permitted addresses."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, NoDecode

from stemyard_contract.address_guard import Rules, origin_of
from stemyard_contract.event_types import EventType
from stemyard_contract.validation import split_commas
from stemyard_contract.webhook import RETRY_SCHEDULE
from stemyard_contract.webhook_guard import WebhookGuard
from stemyard_contract.webhook_secrets import MASTER_LENGTH
from stemyard_contract.webhook_signature import standard_key
from stemyard_operator.config.fields import Seconds, Url, http_url


def _check_secret(secret: str) -> str:
    standard_key(secret)
    return secret


Secret = Annotated[str, AfterValidator(_check_secret)]
MasterSecret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=MASTER_LENGTH)]
Hidden: Any = Field(default=None, repr=False)
Origin = Annotated[str, AfterValidator(http_url), AfterValidator(origin_of)]
SplitCommas = BeforeValidator(split_commas)


class WebhookSettings(BaseSettings):
    """Settings for webhooks."""

    webhook_url: Url | None = None
    """The deployment's own consumer, notified of every run. It may be http and at a private address."""
    webhook_events: Annotated[tuple[EventType, ...], NoDecode, SplitCommas] = ()
    """Events sent to that consumer; by default the three terminal ones."""
    webhook_secret: Secret | None = Hidden
    """Secret that signs webhooks; without one they are not signed."""
    webhook_secret_previous: Secret | None = Hidden
    """During rotation, the secret that WEBHOOK_SECRET replaces."""
    webhook_secrets_dir: Path | None = None
    """Folder of files named like the two variables above, and `endpoints.yaml`; reread on change, takes precedence."""
    webhook_master_secret: MasterSecret | None = Hidden
    """Secret from which those of registered webhooks are derived, as set for the API; without one none is sent."""
    webhook_master_secret_previous: MasterSecret | None = Hidden
    """During rotation, the secret that WEBHOOK_MASTER_SECRET replaces."""
    webhook_schedule: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...], NoDecode, SplitCommas, Field(min_length=1, max_length=50)
    ] = RETRY_SCHEDULE
    """Seconds before each attempt, counted from the previous one."""
    webhook_timeout_seconds: Seconds = 15
    webhook_concurrency: Annotated[int, Field(ge=1)] = 64
    webhook_concurrency_per_target: Annotated[int, Field(ge=1)] = 4
    webhook_breaker_seconds: Seconds = 60
    """Maximum time for which the circuit breaker of a failing consumer stays open."""
    webhook_allow_http: bool = False
    """Whether addresses from requests and SeparationJobs may be http."""
    webhook_ports: Annotated[tuple[int, ...], NoDecode, SplitCommas] = ()
    """Ports of such addresses; by default 443, and 80 for http."""
    webhook_allowed_origins: Annotated[tuple[Origin, ...], NoDecode, SplitCommas] = ()
    """Origins such as `http://10.0.0.7:8080` that are trusted like WEBHOOK_URL, wherever they are named."""
    webhook_denied_cidrs: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, SplitCommas] = ()
    """Public address ranges that are refused too, such as the cluster's own."""
    webhook_proxy_url: Annotated[str, AfterValidator(http_url)] | None = Hidden
    """Proxy for all deliveries; the proxy then resolves and checks addresses."""

    @property
    def webhook_master_secrets(self) -> tuple[str, ...]:
        """The master secrets, the current one first; empty without one."""
        given = (self.webhook_master_secret, self.webhook_master_secret_previous)
        return tuple(secret for secret in given if secret) if self.webhook_master_secret else ()

    @property
    def webhook_guard(self) -> WebhookGuard:
        """Which URLs webhooks may be sent to."""
        rules = Rules(self.webhook_allow_http, frozenset(self.webhook_ports), self.webhook_denied_cidrs)
        return WebhookGuard(rules, self.webhook_url, frozenset(self.webhook_allowed_origins))
