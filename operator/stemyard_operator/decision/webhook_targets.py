"""Webhook targets of a separation: every consumer once, with its events and secret. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from stemyard_contract.event_types import ENDS, EventType
from stemyard_contract.outbox import REGISTERED_TARGETS_LIMIT
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_operator.config.webhook_endpoints import Endpoints
from stemyard_operator.config.webhook_settings import WebhookSettings
from stemyard_operator.model.registrations import NO_REGISTRATIONS, Registrations


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook URL and the events sent to it."""

    url: str
    events: frozenset[EventType]
    endpoint: str | None = None
    """Name of the deployment's endpoint for this URL."""
    key: str | None = None
    """Id of the API key that requested it."""
    registration: str | None = None
    """Id of the webhook that this key has registered for this URL."""

    @property
    def consumer(self) -> tuple[str, str | None]:
        """What is notified once: a URL, and apart from it each webhook registered for it, which has its own secret."""
        return self.url, self.registration


def targets(
    spec: SeparationJobSpec,
    settings: WebhookSettings,
    endpoints: Endpoints,
    registrations: Registrations = NO_REGISTRATIONS,
) -> tuple[Target, ...]:
    """Return all targets of a run: the deployment's first, then those of requests and spec, then registered ones."""
    named = _named(spec, registrations)
    return _merged([*_own(spec, settings, endpoints), *named, *_registered(spec, registrations)], endpoints)


def requested_targets(
    spec: SeparationJobSpec, endpoints: Endpoints, registrations: Registrations = NO_REGISTRATIONS
) -> tuple[Target, ...]:
    """Return the targets named by requests and by the spec."""
    return _merged(_named(spec, registrations), endpoints)


def _own(spec: SeparationJobSpec, settings: WebhookSettings, endpoints: Endpoints) -> Iterator[Target]:
    if settings.webhook_url is not None:
        yield Target(settings.webhook_url, _events(settings.webhook_events))
    for name, key in endpoints.subscribed(claim.key for claim in spec.claims).items():
        endpoint = endpoints.by_name(name)
        if endpoint is not None:
            yield Target(endpoint.url, _events(endpoint.events), name, key)


def _named(spec: SeparationJobSpec, registrations: Registrations) -> Iterator[Target]:
    for one in spec.webhooks:
        yield Target(one.url, _events(one.events))
    for claim in spec.claims:
        if claim.webhook is not None:
            # a test is sent to a webhook that is disabled too
            found = registrations.by_url(claim.key, claim.webhook, disabled=spec.webhook_test)
            registration = found.id if found is not None else None
            yield Target(claim.webhook, _events(claim.webhook_events), key=claim.key, registration=registration)


def _registered(spec: SeparationJobSpec, registrations: Registrations) -> list[Target]:
    """Return the registered webhooks of all claims: the first of each key, then the second, and so on, up to a limit.

    So a key that has registered many does not displace those of other keys.
    """
    of_keys = [
        [
            Target(one.url, _events(one.events), key=claim.key, registration=one.id)
            for one in registrations.of(claim.key)
        ]
        for claim in spec.claims
    ]
    found = [one for group in zip_longest(*of_keys) for one in group if one is not None]
    return found[:REGISTERED_TARGETS_LIMIT]


def _events(given: Iterable[EventType] | None) -> frozenset[EventType]:
    return frozenset(given or ()) or ENDS


def _merged(found: Iterable[Target], endpoints: Endpoints) -> tuple[Target, ...]:
    """Merge targets of one consumer: their events add up, and the first one determines the secret."""
    by_consumer: dict[tuple[str, str | None], Target] = {}
    for one in found:
        known = by_consumer.get(one.consumer)
        if known is not None:
            by_consumer[one.consumer] = replace(known, events=known.events | one.events)
            continue
        endpoint = endpoints.by_url(one.url, one.key) if one.registration is None else None
        by_consumer[one.consumer] = replace(one, endpoint=endpoint.name if endpoint else None)
    return tuple(by_consumer.values())
