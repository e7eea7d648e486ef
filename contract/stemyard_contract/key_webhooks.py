"""The KeyWebhooks resource: the webhooks that one API key has registered for all of its tracks. It holds no secret."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from stemyard_contract.outbox import Events, WebhookUrl
from stemyard_contract.resource import Resource, Value, rule

KIND: Final = "KeyWebhooks"
PLURAL: Final = "keywebhooks"
WEBHOOKS_LIMIT: Final = 32
"""Maximum number of webhooks of one key; the deployment may allow fewer."""
PREVIOUS_SECRETS_LIMIT: Final = 8
"""Maximum number of replaced secrets of one webhook that are still valid."""
DESCRIPTION_LIMIT: Final = 256
WEBHOOK_ID: Final = r"^wh_[0-9a-f]{24}$"
_DIGEST: Final = r"^[0-9a-f]{32}$"


class SecretVersion(Value):
    """Which signing secret a webhook has: it is derived from a master secret of the deployment, and never stored."""

    version: Annotated[int, Field(ge=1)]
    """Number of the secret; each rotation adds one."""
    master: Annotated[str, Field(max_length=16)]
    """Fingerprint of the master secret that it is derived from."""


class PreviousSecret(SecretVersion):
    """A secret that was replaced; until it expires, it signs as well."""

    expires_at: datetime
    """When it stops signing."""


class RegistrationRequest(Value):
    """The request that registered a webhook, if it had an Idempotency-Key."""

    key: Annotated[str, Field(max_length=32, pattern=_DIGEST)]
    """First half of the SHA-256 of the Idempotency-Key."""
    body: Annotated[str, Field(max_length=32, pattern=_DIGEST)]
    """First half of the SHA-256 of the body with all defaults."""


class RegisteredWebhook(Value):
    """A webhook that is notified of the tracks of its key."""

    id: Annotated[str, Field(max_length=27, pattern=WEBHOOK_ID)]
    """Its id in the REST API."""
    url: WebhookUrl
    """URL to POST to. Do not put a secret in it: everyone who may read this resource can read it."""
    events: Events | None = None
    """Events sent to it; by default the three that end a run: completed, failed, cancelled."""
    description: Annotated[str, Field(max_length=DESCRIPTION_LIMIT)] | None = None
    """What it is for, in its owner's words."""
    enabled: bool = True
    """If false, nothing is sent to it, and what was due is given up."""
    created_at: datetime
    """When it was registered."""
    secret: SecretVersion
    """Which secret signs."""
    previous_secrets: Annotated[list[PreviousSecret], Field(max_length=PREVIOUS_SECRETS_LIMIT)] = []  # noqa: RUF012 - pydantic copies defaults
    """Secrets that were replaced and are still valid, newest first."""
    request: RegistrationRequest | None = None
    """The request that registered it, so that repeating it registers no second one."""


class KeyWebhooksSpec(Resource):
    """The webhooks of one API key. Written by the API."""

    model_config = ConfigDict(
        json_schema_extra={"x-kubernetes-validations": [rule("self.key == oldSelf.key", "key cannot be changed")]}
    )

    key: Annotated[str, Field(min_length=1, max_length=64)]
    """Id of the API key, never the key itself."""
    revoked: bool = False
    """True while the API has no valid key of this id; then nothing is sent."""
    webhooks: Annotated[
        list[RegisteredWebhook],
        Field(
            max_length=WEBHOOKS_LIMIT,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
        ),
    ] = []  # noqa: RUF012 - pydantic copies defaults
    """Its webhooks, the oldest first."""


def resource_name(key: str) -> str:
    """Return the name of the resource of an API key, whose id may have characters that names cannot have."""
    return f"key-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def key_webhooks_of(resource: Mapping[str, Any]) -> KeyWebhooksSpec | None:
    """Return the typed view of a resource; None if its name is not that of its key, so that the API never reads it.

    Raises:
        pydantic.ValidationError: it does not match its schema.
    """
    spec = KeyWebhooksSpec.model_validate(resource["spec"])
    return spec if resource["metadata"]["name"] == resource_name(spec.key) else None
