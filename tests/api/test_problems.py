"""What a client is told of a field that is wrong."""

import pytest
from pydantic import ValidationError

from stemyard_api.problems import invalid_request
from stemyard_api.schemas.webhook_requests import WebhookRequest


def test_the_allowed_events_are_named_as_clients_write_them() -> None:
    with pytest.raises(ValidationError) as raised:
        WebhookRequest.model_validate({"url": "https://example.com/hook", "events": ["webhook.test"]})
    assert str(invalid_request(raised.value.errors())) == (
        "events.0: Input should be 'separation.started', 'separation.progress', 'separation.completed', "
        "'separation.failed' or 'separation.cancelled'"
    )
