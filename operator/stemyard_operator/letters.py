"""Writes one attempt's request: the body from the SeparationJob, links and signatures made for this attempt alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final
from urllib.parse import quote

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import Phase, phase_of
from stemyard_contract.webhook import EVENT_OF_PHASE, completed_body, failed_body, signed_headers
from stemyard_operator.objects import Objects
from stemyard_operator.observed import Separation
from stemyard_operator.settings import Settings
from stemyard_operator.signing import secrets

USER_AGENT: Final = f"Stemyard/{version('stemyard')}"
LINK_SECONDS: Final = 7 * 24 * 3600
"""Life of a signed link, as the API gives it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What is posted."""

    headers: Mapping[str, str]
    body: bytes


def letter(separation: Separation, delivery: WebhookStatus, at: int, objects: Objects, settings: Settings) -> Letter:
    """Return the request of one attempt, made at so many epoch seconds.

    Raises:
        SecretError, OSError: the secret cannot be read or used; nothing is ever sent unsigned instead.
    """
    event = EVENT_OF_PHASE[phase_of(separation.status.conditions)]
    body = _body(separation, objects, settings)
    signed = signed_headers(delivery.id, event, body, at, secrets(settings))
    return Letter({**signed, "User-Agent": USER_AGENT}, body)


def _body(separation: Separation, objects: Objects, settings: Settings) -> bytes:
    status, created = separation.status, separation.created.timestamp()
    if phase_of(status.conditions) is Phase.COMPLETED and status.result is not None:
        stems = status.result.stems.items()
        return completed_body(
            separation.track_id, {stem: _link(one.key, objects, settings) for stem, one in stems}, created
        )
    error = status.failure.message if status.failure is not None else "The separation failed."
    return failed_body(separation.track_id, error, created)


def _link(key: str, objects: Objects, settings: Settings) -> str:
    if settings.public_base_url is not None:
        return f"{settings.public_base_url}/{quote(key)}"
    return objects.public_link(key, LINK_SECONDS)
