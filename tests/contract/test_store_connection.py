"""Configuration of the clients of the object store."""

from typing import Any

import pytest
from botocore import UNSIGNED

from stemyard_store.connection import client_config

LIMITS: dict[str, Any] = {"connect_seconds": 1, "read_seconds": 2, "connections": 3, "attempts": 4}


@pytest.mark.parametrize(
    ("endpoint", "style"),
    [
        (None, "virtual"),
        ("https://s3.eu-west-1.amazonaws.com", "virtual"),
        ("https://account.r2.cloudflarestorage.com", "path"),
        ("http://minio.minio:9000", "path"),
        ("https://amazonaws.com.example.com", "path"),
    ],
)
def test_only_amazon_has_a_host_for_each_bucket(endpoint: str | None, style: str) -> None:
    config: Any = client_config(endpoint, **LIMITS)
    assert config.s3 == {"addressing_style": style}


def test_limits_are_those_given_and_checksums_those_that_every_store_takes() -> None:
    config: Any = client_config(None, **LIMITS)
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (1, 2, 3)
    assert config.retries == {"total_max_attempts": 4, "mode": "standard"}
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"
    assert config.signature_version == "s3v4"
    unsigned: Any = client_config(None, **LIMITS, signed=False)
    assert unsigned.signature_version is UNSIGNED
