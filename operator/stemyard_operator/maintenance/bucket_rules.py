"""Lifecycle and CORS rules of the bucket: what expires, and which pages may read and upload.

Set once after installing, and again whenever an origin changes; rules of others are kept.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from stemyard_contract.handover import Room
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ObjectStoreUnsupportedError

_EXPIRING: Final = (Room.UPLOADS, Room.WORK)
"""Rooms whose objects are temporary. Stems are removed with their SeparationJobs, never by age."""

_PART_DAYS: Final = 2
"""Age at which an upload in parts is dropped that was not completed; the API continues it for one day."""

Rule = dict[str, Any]


def lifecycle_rules(install_id: str, days: int, present: Sequence[Rule]) -> list[Rule]:
    """Return the bucket's rules with this installation's own replaced, at the end."""
    ours = [
        {
            "ID": _name(install_id, room),
            "Status": "Enabled",
            "Filter": {"Prefix": f"{install_id}/{room}/"},
            "Expiration": {"Days": days},
            **({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _PART_DAYS}} if room is Room.UPLOADS else {}),
        }
        for room in _EXPIRING
    ]
    return [*_others(present, {rule["ID"] for rule in ours}), *ours]


def cors_rules(install_id: str, origins: Sequence[str], present: Sequence[Rule]) -> list[Rule]:
    """Return the bucket's rules with this installation's own replaced: pages of these origins may read and upload."""
    ours = {
        "ID": _name(install_id, "page"),
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["content-disposition", "content-type", "if-none-match", "range", "x-amz-checksum-sha256"],
        "ExposeHeaders": ["Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag"],
        "MaxAgeSeconds": 3600,
    }
    return [*_others(present, {ours["ID"]}), *([ours] if origins else [])]


def _name(install_id: str, what: str) -> str:
    return f"stemyard-{install_id}-{what}"


def _others(present: Sequence[Rule], ours: set[Any]) -> list[Rule]:
    return [rule for rule in present if rule.get("ID") not in ours]


async def set_up(settings: Settings, days: int, origins: Sequence[str] | None) -> list[str]:
    """Create the bucket if it is missing, and set its rules; return a line about each step.

    Args:
        settings: the operator's.
        days: age at which uploads and source audio expire.
        origins: pages that may read and upload; None keeps the CORS rules as they are.

    Raises:
        ObjectStoreError: the store does not answer, or refuses the request.
    """
    objects, install_id = ObjectStoreClient(settings), settings.stemyard_install_id
    rooms = " and ".join(f"{install_id}/{room}/" for room in _EXPIRING)

    async def set_lifecycle() -> None:
        await objects.set_lifecycle(lifecycle_rules(install_id, days, await objects.lifecycle()))

    async def set_cors() -> None:
        await objects.set_cors(cors_rules(install_id, origins or (), await objects.cors()))

    try:
        await objects.prepare()
        lines = [f"bucket {settings.r2_bucket}: there"]
        lines.append(await _attempt(f"lifecycle: {rooms} go after {days} days", set_lifecycle))
        if origins is not None:
            lines.append(await _attempt(f"CORS: {', '.join(origins) or 'no page'} may read and upload", set_cors))
        return lines
    finally:
        await objects.close()


async def _attempt(done: str, step: Callable[[], Awaitable[None]]) -> str:
    try:
        await step()
    except ObjectStoreUnsupportedError:
        return f"{done.partition(':')[0]}: this store knows no such rules; nothing was set"
    return done
