"""Response bodies about uploads."""

from typing import NotRequired

from typing_extensions import TypedDict


class UploadSlot(TypedDict):
    """Where to PUT a file; the request must carry exactly these headers."""

    upload_id: str
    url: str
    headers: dict[str, str]
    expires_at: float


class MultipartSlot(TypedDict):
    """An upload in parts: all have `part_bytes` bytes but the last, which has the rest."""

    upload_id: str
    size: int
    part_bytes: int
    parts: int
    expires_at: float


class PartLink(TypedDict):
    """Where to PUT a part; the request must carry exactly these headers."""

    number: int
    url: str
    headers: dict[str, str]
    expires_at: float


class PartLinks(TypedDict):
    """Links for parts, in the order of the request."""

    parts: list[PartLink]


class ReceivedPart(TypedDict):
    """A part that the store has; `sha256` is absent if the store keeps no checksums."""

    number: int
    size: int
    sha256: NotRequired[str]


class UploadState(TypedDict):
    """What has been received of an upload; once it is complete, `upload_id` and `size` are all that is known."""

    upload_id: str
    complete: bool
    size: int
    part_bytes: NotRequired[int]
    parts: NotRequired[int]
    received: NotRequired[list[ReceivedPart]]
    expires_at: NotRequired[float]


class UploadedFile(TypedDict):
    """A file that was received completely, ready for POST /separate-audio."""

    upload_id: str
    size: int
