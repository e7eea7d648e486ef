"""What the process that runs yt-dlp is asked, on its standard input, and what it answers, line by line."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate
from stemyard_contract.handover import MediaMetadata


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class DownloadRequest(_Message):
    """Search for `query`, or take `video`, or a `link` to another site; download its audio into `folder`."""

    query: str | None = None
    video: str | None = None
    link: str | None = None
    folder: str
    max_bytes: int
    max_seconds: float
    cookies: str | None = None
    """A cookie file that may be written to: yt-dlp rewrites it when it ends."""
    proxy: str | None = None
    po_token_url: str | None = None
    """Base URL of a provider of PO tokens; without one no plugin is loaded."""
    request_interval: float = 0.5
    """Seconds between two requests."""
    download_delay: tuple[float, float] = (0.0, 0.0)
    """Least and most seconds to wait before a download."""
    extractors: tuple[str, ...] = ()
    """Names of the extractors that may read `link`."""


class Step(_Message):
    """How far it is."""

    kind: Literal["step"] = "step"
    step: str
    fraction: float


class Downloaded(_Message):
    """The audio is in `path`."""

    kind: Literal["done"] = "done"
    path: str
    media: MediaMetadata
    candidates: list[Candidate]


class UnsupportedLink(_Message):
    """None of the extractors that are allowed reads the link."""

    kind: Literal["not ours"] = "not ours"


class DownloadFailed(_Message):
    """There is no audio, and why."""

    kind: Literal["failed"] = "failed"
    code: FailureCode
    detail: str


Message = Annotated[Step | Downloaded | UnsupportedLink | DownloadFailed, Field(discriminator="kind")]
MESSAGES: TypeAdapter[Step | Downloaded | UnsupportedLink | DownloadFailed] = TypeAdapter(Message)
