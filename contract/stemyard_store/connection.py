"""How clients of API and operator speak to any store with S3's protocol."""

from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.config import Config


def client_config(
    endpoint: str | None,
    *,
    connect_seconds: float,
    read_seconds: float,
    connections: int,
    attempts: int,
    signed: bool = True,
) -> Config:
    """Return the configuration of a client for an endpoint.

    Args:
        endpoint: base URL of the store; None is Amazon's, of the client's region.
        connect_seconds: time for a connection.
        read_seconds: time for a response to begin, and between its parts.
        connections: maximum number of connections that are kept.
        attempts: maximum number of attempts of a call.
        signed: False for requests without credentials.
    """
    return Config(
        signature_version="s3v4" if signed else UNSIGNED,
        # R2 refuses the checksums that newer clients add by default
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        max_pool_connections=connections,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        s3={"addressing_style": "virtual" if _is_amazon(endpoint) else "path"},
    )


def _is_amazon(endpoint: str | None) -> bool:
    """Return whether an endpoint takes the bucket as part of the host; others need not have a name for each bucket."""
    return endpoint is None or (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")
