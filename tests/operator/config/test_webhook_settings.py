"""The settings of webhooks: which values are refused, and how lists are read."""

import pytest
from pydantic import ValidationError

from tests.operator.world import settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook_url", "ftp://example.com"),
        ("webhook_url", "https://example.com/" + "x" * 1024),
        ("webhook_schedule", ""),
        ("webhook_schedule", "0,-1"),
        ("webhook_allowed_origins", "example.com"),
        ("webhook_denied_cidrs", "10.0.0.1/8"),
    ],
)
def test_unusable_settings_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        settings(**{name: value})


def test_lists_are_read_as_comma_separated_words() -> None:
    found = settings(webhook_schedule="0, 1,2.5", webhook_ports="443,8443", webhook_denied_cidrs="10.0.0.0/8,fd00::/8")
    assert found.webhook_schedule == (0, 1, 2.5)
    assert found.webhook_ports == (443, 8443)
    assert [str(one) for one in found.webhook_denied_cidrs] == ["10.0.0.0/8", "fd00::/8"]
