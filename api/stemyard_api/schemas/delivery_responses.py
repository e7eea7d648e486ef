"""Response bodies about webhooks: registered ones, and deliveries."""

from typing import Literal

from typing_extensions import TypedDict

from stemyard_contract.event_types import EventType


class Delivery(TypedDict):
    """One webhook of a track's last run. Times are epoch seconds; `last_status` is 0 if there was no response."""

    id: str
    url: str
    event: EventType
    endpoint: str | None
    registration: str | None
    state: Literal["pending", "delivered", "given_up"]
    attempts: int
    last_status: int | None
    last_error: str | None
    last_attempt_at: float | None
    next_attempt_at: float | None
    delivered_at: float | None


class Attempt(TypedDict):
    """One attempt at a webhook: when it ended, its duration, the HTTP status or 0, and why it failed."""

    id: str
    url: str
    event: EventType
    at: float
    seconds: float
    status: int
    error: str | None


class Deliveries(TypedDict):
    """The webhooks of a track's last run, and the most recent attempts, newest first."""

    track_id: str
    deliveries: list[Delivery]
    attempts: list[Attempt]


class Redelivery(TypedDict):
    """Ids of the webhooks that are redelivered."""

    track_id: str
    ids: list[str]


class DeadLetter(Delivery):
    """A webhook that was given up."""

    track_id: str


class DeadLetters(TypedDict):
    """Webhooks that were given up. `next_cursor` is null at the end of the list."""

    dead_letters: list[DeadLetter]
    next_cursor: str | None


class WebhookRegistration(TypedDict):
    """A webhook that is notified of all tracks of its key. Times are epoch seconds.

    `previous_secret_valid_until` is when the last secret that was replaced stops signing; null if none was.
    """

    id: str
    url: str
    events: list[EventType]
    description: str | None
    enabled: bool
    created_at: float
    previous_secret_valid_until: float | None


class WebhookRegistrationWithSecret(WebhookRegistration):
    """A webhook and its new secret, for any library of Standard Webhooks; the secret is not shown again."""

    secret: str


class RegisteredWebhooks(TypedDict):
    """The webhooks that a key has registered, the oldest first."""

    webhooks: list[WebhookRegistration]


class WebhookRemoved(TypedDict):
    """Id of a webhook that was deleted."""

    id: str
    deleted: Literal[True]
