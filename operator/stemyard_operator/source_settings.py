"""The operator's settings for sources: where songs may come from, and how YouTube is asked for them."""

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, NoDecode

from stemyard_operator.config.fields import Url, words

_EXTRACTOR: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$"
Interval = Annotated[float, Field(ge=0, le=3600)]


def _no_catch_all(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse the extractor that reads any address: links would no longer be checked by us."""
    if taken := {"generic", "default", "all"} & {name.lower() for name in names}:
        raise ValueError(f"{', '.join(sorted(taken))} would read any address; name the extractors of single sites")
    return names


class SourceSettings(BaseSettings):
    """Everything a deployment can set about where songs come from."""

    youtube_enabled: bool = True
    youtube_cookies_secret: str = ""
    """Secret with the key `cookies.txt`, in every watched namespace."""
    youtube_proxy_secret: str = ""
    """Secret with the key `proxyUrl`, in every watched namespace."""
    youtube_po_token_url: Url | None = None
    """Base URL of a provider of PO tokens."""
    youtube_request_interval: Interval = 0.5
    """Seconds between two requests."""
    youtube_download_delay: Interval = 0
    """Least seconds to wait before a download."""
    youtube_download_delay_max: Interval = 0
    """Most seconds to wait before a download; 0 means the least."""
    youtube_extractors: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=_EXTRACTOR)], ...],
        NoDecode,
        BeforeValidator(words),
        AfterValidator(_no_catch_all),
    ] = ()
    """More extractors of yt-dlp whose links are accepted."""
