"""Maps yt-dlp's exceptions and error messages to failure codes."""

import errno
import re
from collections.abc import Iterator, Sequence
from typing import Final

from yt_dlp.cookies import CookieLoadError
from yt_dlp.networking.exceptions import HTTPError, RequestError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnavailableVideoError,
    UserNotLive,
)

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import StageError, redact
from stemyard_separator.youtube.messages import DownloadFailed

_C = FailureCode
_MESSAGES: Final = (
    (r"not a bot|captcha", _C.SOURCE_BOT_CHECK),
    (r"rate-?limited|HTTP Error 429|Too Many Requests|try again later", _C.SOURCE_RATE_LIMITED),
    (r"DRM", _C.SOURCE_DRM),
    (r"Private video", _C.SOURCE_UNAVAILABLE),
    (r"confirm your age|age-restricted|inappropriate for some users", _C.SOURCE_AGE_RESTRICTED),
    (r"members-only|Join this channel|requires payment|Sign in|log ?in|cookies", _C.SOURCE_LOGIN_REQUIRED),
    (r"in your country|in your location|geo.?restrict", _C.SOURCE_GEO_BLOCKED),
    (r"live event will begin|Premieres in|is not currently live|live stream recording", _C.SOURCE_LIVE),
    (r"Got error|any data blocks|timed out|HTTP Error 5\d\d", _C.SOURCE_NETWORK),
    (r"unavailable|has been removed|terminated|does not exist", _C.SOURCE_UNAVAILABLE),
    (r"challenge solving failed|Unable to extract|Failed to parse", _C.EXTRACTOR_BROKEN),
    (r"HTTP Error 403|Requested format is not available|Only images are available", _C.SOURCE_FORBIDDEN),
    (r"ffmpeg|ffprobe", _C.INTERNAL_CONFIG),
    (r"Connection|Unable to download|Incomplete", _C.SOURCE_NETWORK),
)
"""Patterns of error messages; the first match wins, so the order matters."""
_PATTERNS: Final = tuple((re.compile(pattern, re.IGNORECASE), code) for pattern, code in _MESSAGES)
_STATUS_CODES: Final = {
    401: _C.SOURCE_LOGIN_REQUIRED,
    403: _C.SOURCE_FORBIDDEN,
    404: _C.SOURCE_UNAVAILABLE,
    410: _C.SOURCE_UNAVAILABLE,
    429: _C.SOURCE_RATE_LIMITED,
    451: _C.SOURCE_GEO_BLOCKED,
}
_DECORATION: Final = re.compile(
    r"^(ERROR: )?\s*(\[[\w:+]+\] )?([\w-]{11}: )*|; please report this issue.*| Use --.*", re.DOTALL
)
_DETAIL_LIMIT: Final = 200


_ABOUT_THE_RECORDING: Final = frozenset(
    {
        *(_C.SOURCE_UNAVAILABLE, _C.SOURCE_LOGIN_REQUIRED, _C.SOURCE_AGE_RESTRICTED, _C.SOURCE_GEO_BLOCKED),
        *(_C.SOURCE_LIVE, _C.SOURCE_DRM),
    }
)
"""Codes whose messages come from the site and tell people something; those of others are about the service."""
_INTERNAL: Final = re.compile(
    r"\[Errno|\(caused by|\b\w+(Error|Exception)\b[:(]|HTTP Error|Unable to |Traceback|<\w+|yt-dlp|--\w", re.IGNORECASE
)
"""Marks of messages that are for developers."""


def diagnose(error: BaseException, warnings: Sequence[str] = ()) -> DownloadFailed:
    """Return the failure code of an error raised by yt-dlp, a sentence for people, and the message for the log.

    Args:
        error: the outermost exception.
        warnings: earlier warnings of yt-dlp; they distinguish a broken extractor from a refused download.
    """
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, StageError):
            return DownloadFailed(code=cause.code, detail=cause.detail, cause=cause.cause)
    code, line = _code(chain, warnings), _first_line(error)
    for_people = code in _ABOUT_THE_RECORDING and not _INTERNAL.search(line)
    return DownloadFailed(code=code, detail=line if for_people else "", cause=line)


def _code(chain: Sequence[BaseException], warnings: Sequence[str]) -> FailureCode:
    if (by_type := _code_by_type(chain)) is not None:
        return by_type
    code = _code_by_message("\n".join(str(error) for error in chain))
    if code is _C.SOURCE_FORBIDDEN and any("challenge solving failed" in warning for warning in warnings):
        return _C.EXTRACTOR_BROKEN  # formats are missing because the extractor failed
    if code is not None:
        return code
    if any(isinstance(error, ExtractorError) and error.expected for error in chain):
        return _C.SOURCE_UNAVAILABLE
    return _C.EXTRACTOR_BROKEN


def _code_by_message(text: str) -> FailureCode | None:
    return next((code for pattern, code in _PATTERNS if pattern.search(text)), None)


def _code_by_type(chain: Sequence[BaseException]) -> FailureCode | None:
    for error in reversed(chain):
        match error:
            case GeoRestrictedError():
                return _C.SOURCE_GEO_BLOCKED
            case UserNotLive():
                return _C.SOURCE_LIVE
            case HTTPError():
                default = _C.SOURCE_NETWORK if error.status >= 500 else _C.SOURCE_UNAVAILABLE
                return _STATUS_CODES.get(error.status, default)
            case RequestError() | ContentTooShortError():
                return _C.SOURCE_NETWORK
            case CookieLoadError() | PostProcessingError():
                return _C.INTERNAL_CONFIG
            case UnavailableVideoError():
                return _C.INTERNAL_IO
            case OSError() if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO):
                return _C.INTERNAL_IO
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all of its causes, outermost first."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, DownloadError) and current.exc_info:
            queue.append(current.exc_info[1])
        if isinstance(current, ExtractorError):
            queue.append(current.cause)
        queue.append(current.__cause__)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message without yt-dlp's prefixes and hints."""
    text = _DECORATION.sub("", redact(str(error)))
    line = next((part.strip() for part in text.splitlines() if part.strip()), type(error).__name__)
    return line[:_DETAIL_LIMIT]
