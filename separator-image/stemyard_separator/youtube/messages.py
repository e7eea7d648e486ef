"""Messages between the stage and the process that runs yt-dlp: one request on stdin, JSON lines on stdout."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.handover import MediaMetadata


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Overlay(_Message):
    """A folder with a yt-dlp that takes the place of the image's own, and the versions that are accepted.

    Attributes:
        folder: holds the packages `yt_dlp` and `yt_dlp_ejs`.
        least: oldest accepted version of yt-dlp; None means the image's own.
        greatest: newest accepted version; None means a year newer than the image's own.
    """

    folder: str
    least: str | None = None
    greatest: str | None = None


class DownloadRequest(_Message):
    """Search for `query`, or take the YouTube id `video`, or a `link` to another site; download to `folder`."""

    query: str | None = None
    video: str | None = None
    link: str | None = None
    folder: str
    max_bytes: int
    max_seconds: float
    cookies: str | None = None
    """A writable cookie file: yt-dlp rewrites it on exit."""
    proxy: str | None = None
    po_token_url: str | None = None
    """Base URL of a PO token provider; without one no plugin is loaded."""
    request_interval: float = 0.5
    """Seconds between two requests."""
    download_delay: tuple[float, float] = (0.0, 0.0)
    """Minimum and maximum seconds to wait before a download."""
    extractors: tuple[str, ...] = ()
    """Names of the extractors allowed for `link`."""
    overlay: Overlay | None = None


class DownloaderStarted(_Message):
    """yt-dlp is imported; `overlay_refusal` says why the overlay is not used, None if it is or there is none."""

    kind: Literal["started"] = "started"
    versions: dict[str, str]
    overlay_refusal: str | None = None


class DownloadProgress(_Message):
    """Progress within a step."""

    kind: Literal["step"] = "step"
    step: str
    fraction: float


class Downloaded(_Message):
    """The audio is at `path`."""

    kind: Literal["downloaded"] = "downloaded"
    path: str
    media: MediaMetadata
    candidates: list[Candidate]
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of yt-dlp and its challenge solver."""


class UnsupportedLink(_Message):
    """No allowed extractor supports the link."""

    kind: Literal["unsupported link"] = "unsupported link"


class DownloadFailed(_Message):
    """There is no audio, and why."""

    kind: Literal["failed"] = "failed"
    code: FailureCode
    detail: str
    """For people; may be empty."""
    cause: str = ""
    """What yt-dlp said, for the log."""


Message = DownloaderStarted | DownloadProgress | Downloaded | UnsupportedLink | DownloadFailed
OnDownloadProgress = Callable[[DownloadProgress], None]
MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
