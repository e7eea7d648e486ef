"""Field types shared by several groups of settings."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stemyard_contract.outbox import URL_LIMIT


def http_url(url: str) -> str:
    """Return an http or https URL unchanged.

    Raises:
        ValueError: it is not such a URL.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname or any(map(str.isspace, url)):
        raise ValueError("must be a URL that starts with http:// or https://")
    return url


Url = Annotated[str, Field(max_length=URL_LIMIT), AfterValidator(http_url)]
"""An http or https URL."""
Seconds = Annotated[float, Field(gt=0)]
