"""The Redis URL as both parts use it."""

from typing import Final
from urllib.parse import quote

_TLS: Final = "rediss://"


def with_authority(url: str, file: str | None) -> str:
    """Return the URL with a file of certificate authorities, in the form that redis-py reads.

    Args:
        url: redis:// or rediss://; only the latter, which is TLS, has anything to check.
        file: PEM file of the authorities to believe instead of the system's; None leaves the URL as it is.
    """
    if file is None or not url.startswith(_TLS) or "ssl_ca_certs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_ca_certs={quote(file, safe='')}"
