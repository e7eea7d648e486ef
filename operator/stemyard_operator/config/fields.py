"""Kinds of values that several groups of settings share."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stemyard_contract.outbox import URL_LIMIT


def words(value: object) -> object:
    """Split a text at its commas; anything else stays as it is."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def http_url(url: str) -> str:
    """Return a URL that starts with http:// or https://.

    Raises:
        ValueError: it is none.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname or any(map(str.isspace, url)):
        raise ValueError("must be a URL that starts with http:// or https://")
    return url


Url = Annotated[str, Field(max_length=URL_LIMIT), AfterValidator(http_url)]
"""An address of HTTP."""
