"""Who is told of a separation, and of what: every address once, whoever names it. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stemyard_contract.event_types import ENDS, EventType
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_operator.config.webhook_endpoints import Endpoints
from stemyard_operator.config.webhook_settings import WebhookSettings


@dataclass(frozen=True, slots=True)
class Target:
    """An address, and what it is told of."""

    url: str
    events: frozenset[EventType]
    endpoint: str | None = None
    """Name of the deployment's endpoint with this address."""
    key: str | None = None
    """Id of the API key that it is for."""


def targets(spec: SeparationJobSpec, settings: WebhookSettings, endpoints: Endpoints) -> tuple[Target, ...]:
    """Return everybody who is told of a run: the deployment's own addresses first, then those named by others."""
    return _once([*_own(spec, settings, endpoints), *_named(spec)], endpoints)


def named(spec: SeparationJobSpec, endpoints: Endpoints) -> tuple[Target, ...]:
    """Return those whom requests and the spec itself name."""
    return _once(_named(spec), endpoints)


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


def _once(found: Iterable[Target], endpoints: Endpoints) -> tuple[Target, ...]:
    """Merge what is named twice: events add up, and the first who named it decides the secret."""
    by_url: dict[str, Target] = {}
    for one in found:
        known = by_url.get(one.url)
        if known is None:
            endpoint = endpoints.by_url(one.url, one.key)
            by_url[one.url] = replace(one, endpoint=endpoint.name if endpoint else None)
        else:
            by_url[one.url] = replace(known, events=known.events | one.events)
    return tuple(by_url.values())
