"""The endpoints file: the deployment's own webhook endpoints, and secrets for API keys."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stemyard_contract.event_types import EventType
from stemyard_contract.validation import error_lines
from stemyard_operator.config.fields import Url
from stemyard_operator.config.webhook_settings import Hidden, Secret

ALL_KEYS: Final = "*"
"""In an endpoint's keys: it receives events of every track."""
ENDPOINTS_LIMIT: Final = 32


class EndpointsError(ValueError):
    """The endpoints file is invalid; the message names fields and repeats no value."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )


class SigningSecrets(_StrictModel):
    """A secret, and during rotation the one that it replaces."""

    secret: Secret | None = Hidden
    previous_secret: Secret | None = Hidden

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: object) -> object:
        return {name: value for name, value in data.items() if value != ""} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _require_current_secret(self) -> "SigningSecrets":
        if self.previous_secret is not None and self.secret is None:
            raise ValueError("previousSecret is what secret replaces, and there is none")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that are set, newest first."""
        return tuple(secret for secret in (self.secret, self.previous_secret) if secret is not None)


class Endpoint(SigningSecrets):
    """A consumer of the deployment: it receives events of some tracks, or only its secret is used."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    url: Url
    keys: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    """Ids of the API keys whose tracks it receives events of, `*` for all; if empty, requests must name its URL."""
    events: tuple[EventType, ...] = ()
    """Events it receives; by default the three terminal ones."""

    def permits(self, key: str | None) -> bool:
        """Return whether its secret may sign webhooks to its URL that this API key requested.

        A key must not send signed webhooks to another key's consumer.
        """
        return not self.keys or ALL_KEYS in self.keys or key in self.keys


class Endpoints(_StrictModel):
    """Content of the endpoints file."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=ENDPOINTS_LIMIT)] = ()
    keys: dict[str, SigningSecrets] = Field(default_factory=dict)
    """By API key id, secrets for webhooks to URLs that the key requested; by default the deployment's secret."""

    @model_validator(mode="after")
    def _require_unique(self) -> "Endpoints":
        for field in ("name", "url"):
            values = [getattr(endpoint, field) for endpoint in self.endpoints]
            if len(values) != len(set(values)):
                raise ValueError(f"two endpoints have one {field}")
        return self

    def by_name(self, name: str) -> Endpoint | None:
        """Return the endpoint with this name."""
        return next((endpoint for endpoint in self.endpoints if endpoint.name == name), None)

    def by_url(self, url: str, key: str | None) -> Endpoint | None:
        """Return the endpoint with this URL if it permits the API key; None stands for a request without a key."""
        found = next((endpoint for endpoint in self.endpoints if endpoint.url == url), None)
        return found if found is not None and found.permits(key) else None

    def subscribed(self, keys: Iterable[str]) -> Mapping[str, str | None]:
        """Return the endpoints that receive events of a track claimed by these API keys.

        Returns:
            The key that each endpoint lists, by the endpoint's name; None if it receives events of every track.
        """
        claiming = list(keys)
        found: dict[str, str | None] = {}
        for endpoint in self.endpoints:
            listed = next((key for key in claiming if key in endpoint.keys), None)
            if listed is not None or ALL_KEYS in endpoint.keys:
                found[endpoint.name] = listed
        return found


NO_ENDPOINTS: Final = Endpoints()


def parse(text: str) -> Endpoints:
    """Return the endpoints of a file's text, YAML or JSON.

    Raises:
        EndpointsError: the text is invalid.
    """
    try:
        return Endpoints.model_validate(_load(text) or {})
    except ValidationError as error:
        raise EndpointsError("; ".join(error_lines(error))) from None


def _load(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise EndpointsError("not valid YAML or JSON") from None
    except (ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
        # PyYAML lets through what its constructors raise, as for the 30th of February
        raise EndpointsError("has a value that YAML cannot read") from None
