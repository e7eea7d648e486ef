"""Webhook targets of a separation: every URL once, with its events and secret. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stemyard_contract.event_types import ENDS, EventType
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_operator.config.webhook_endpoints import Endpoints
from stemyard_operator.config.webhook_settings import WebhookSettings


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook URL and the events sent to it."""

    url: str
    events: frozenset[EventType]
    endpoint: str | None = None
    """Name of the deployment's endpoint for this URL."""
    key: str | None = None
    """Id of the API key that requested it."""


def targets(spec: SeparationJobSpec, settings: WebhookSettings, endpoints: Endpoints) -> tuple[Target, ...]:
    """Return all targets of a run: the deployment's first, then those of requests and spec."""
    return _merged([*_own(spec, settings, endpoints), *_named(spec)], endpoints)


def requested_targets(spec: SeparationJobSpec, endpoints: Endpoints) -> tuple[Target, ...]:
    """Return the targets named by requests and by the spec."""
    return _merged(_named(spec), endpoints)


def _own(spec: SeparationJobSpec, settings: WebhookSettings, endpoints: Endpoints) -> Iterator[Target]:
    if settings.webhook_url is not None:
        yield Target(settings.webhook_url, _events(settings.webhook_events))
    for name, key in endpoints.subscribed(claim.key for claim in spec.claims).items():
        endpoint = endpoints.by_name(name)
        if endpoint is not None:
            yield Target(endpoint.url, _events(endpoint.events), name, key)


def _named(spec: SeparationJobSpec) -> Iterator[Target]:
    for one in spec.webhooks:
        yield Target(one.url, _events(one.events))
    for claim in spec.claims:
        if claim.webhook is not None:
            yield Target(claim.webhook, _events(claim.webhook_events), key=claim.key)


def _events(given: Iterable[EventType] | None) -> frozenset[EventType]:
    return frozenset(given or ()) or ENDS


def _merged(found: Iterable[Target], endpoints: Endpoints) -> tuple[Target, ...]:
    """Merge targets with the same URL: their events add up, and the first one determines the secret."""
    by_url: dict[str, Target] = {}
    for one in found:
        known = by_url.get(one.url)
        if known is None:
            endpoint = endpoints.by_url(one.url, one.key)
            by_url[one.url] = replace(one, endpoint=endpoint.name if endpoint else None)
        else:
            by_url[one.url] = replace(known, events=known.events | one.events)
    return tuple(by_url.values())
