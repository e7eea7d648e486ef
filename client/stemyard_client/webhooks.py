"""Verification of webhooks for consumers."""

from stemyard_contract.webhook_signature import (
    BadSignatureError,
    MissingHeaderError,
    ReplayError,
    SecretError,
    StaleTimestampError,
    VerificationError,
    Webhook,
    verify,
)

__all__ = [
    "BadSignatureError",
    "MissingHeaderError",
    "ReplayError",
    "SecretError",
    "StaleTimestampError",
    "VerificationError",
    "Webhook",
    "verify",
]
