"""The deployment's own endpoints, and the secrets of API keys: read from the file beside the webhook secret."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stemyard_contract.event_types import EventType
from stemyard_operator.config.fields import Url
from stemyard_operator.config.webhook_settings import Hidden, Secret

EVERY_KEY: Final = "*"
"""Among an endpoint's keys: it is told of every track."""
ENDPOINTS_LIMIT: Final = 32


class EndpointsError(ValueError):
    """The file of endpoints cannot be used; the message names fields and repeats no value."""


class _Strict(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )


class Signing(_Strict):
    """What signs: a secret, and while consumers still know it, the one that it replaces."""

    secret: Secret | None = Hidden
    previous_secret: Secret | None = Hidden

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: object) -> object:
        return {name: value for name, value in data.items() if value != ""} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _replaces_something(self) -> "Signing":
        if self.previous_secret is not None and self.secret is None:
            raise ValueError("previousSecret is what secret replaces, and there is none")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets, newest first; none where nothing is set."""
        return tuple(one for one in (self.secret, self.previous_secret) if one is not None)


class Endpoint(Signing):
    """An address that the deployment tells of tracks, or lends a secret to."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    url: Url
    keys: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    """Ids of the API keys whose tracks it is told of, `*` for every track; without any it must be named by its URL."""
    events: tuple[EventType, ...] = ()
    """What it is told of; by default the three ends."""

    def lent_to(self, key: str | None) -> bool:
        """Return whether its secret signs what this API key names it for: no key speaks to another's consumer."""
        return not self.keys or EVERY_KEY in self.keys or key in self.keys


class Endpoints(_Strict):
    """Everything the file holds."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=ENDPOINTS_LIMIT)] = ()
    keys: dict[str, Signing] = Field(default_factory=dict)
    """What signs webhooks to addresses that an API key named, by its id; by default the deployment's secret."""

    @model_validator(mode="after")
    def _each_once(self) -> "Endpoints":
        for field in ("name", "url"):
            values = [getattr(one, field) for one in self.endpoints]
            if len(values) != len(set(values)):
                raise ValueError(f"two endpoints have one {field}")
        return self

    def named(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name."""
        return next((one for one in self.endpoints if one.name == name), None)

    def at(self, url: str, key: str | None) -> Endpoint | None:
        """Return the endpoint with that address, where an API key, or whoever is none, may have its secret sign."""
        found = next((one for one in self.endpoints if one.url == url), None)
        return found if found is not None and found.lent_to(key) else None

    def told_of(self, keys: Iterable[str]) -> Mapping[str, str | None]:
        """Return the names of the endpoints that are told of a track of these API keys, each with the key it is for."""
        claiming = list(keys)
        found: dict[str, str | None] = {}
        for one in self.endpoints:
            mine = next((key for key in claiming if key in one.keys), None)
            if mine is not None or EVERY_KEY in one.keys:
                found[one.name] = mine
        return found


NONE: Final = Endpoints()


def parse(text: str) -> Endpoints:
    """Return what a file's text says, YAML or JSON.

    Raises:
        EndpointsError: it is not such a file.
    """
    try:
        return Endpoints.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError:
        raise EndpointsError("not valid YAML or JSON") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, at['loc']))}: {at['msg']}" for at in error.errors())
        raise EndpointsError(wrong) from None
