"""Client of Stemyard's REST API, synchronous and asynchronous.

from pathlib import Path
from stemyard_client import Client

with Client("https://stems.example.org", key) as stemyard:
    separation = stemyard.separate(Path("song.mp3"))
    separation.wait()
    files = separation.download(Path("stems"))
"""

from stemyard_client.async_client import AsyncClient, AsyncSeparation
from stemyard_client.client import Client, Separation
from stemyard_client.errors import (
    ApiError,
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidAnswerError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    SeparationFailedError,
    ServerError,
    StemyardError,
    TransferError,
    WaitTimeoutError,
)
from stemyard_client.models import (
    Candidate,
    Capabilities,
    Job,
    RegisteredWebhook,
    Share,
    Usage,
    WebhookWithSecret,
)
from stemyard_client.options import Filters, Options, WebhookChanges
from stemyard_client.retries import Retries
from stemyard_client.transport import AddressError, KeyFormatError
from stemyard_client.webhooks import VerificationError, Webhook, verify

__all__ = [
    "AddressError",
    "ApiError",
    "AsyncClient",
    "AsyncSeparation",
    "AuthenticationError",
    "Candidate",
    "Capabilities",
    "Client",
    "ConflictError",
    "ConnectionFailedError",
    "Filters",
    "ForbiddenError",
    "InvalidAnswerError",
    "InvalidRequestError",
    "Job",
    "KeyFormatError",
    "NotFoundError",
    "Options",
    "RateLimitedError",
    "RegisteredWebhook",
    "Retries",
    "Separation",
    "SeparationFailedError",
    "ServerError",
    "Share",
    "StemyardError",
    "TransferError",
    "Usage",
    "VerificationError",
    "WaitTimeoutError",
    "Webhook",
    "WebhookChanges",
    "WebhookWithSecret",
    "verify",
]
