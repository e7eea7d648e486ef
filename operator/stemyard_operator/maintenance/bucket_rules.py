"""Bucket rules: what ages away by itself, and which pages may read and upload.

Run `python -m stemyard_operator.bucket_rules` once after installing, and again whenever an origin changes; rules that
are not ours stay as they are.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from stemyard_contract.handover import Room
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.errors import ObjectStoreUnsupportedError, OperatorError

DAYS: Final = 14
"""Longer than any separation may wait and be tried again; until then the operator cleans up by itself."""
_LEAST_DAYS: Final = 8
"""A separation may wait for a week (`deadlines.queue`)."""
_AGING: Final = (Room.UPLOADS, Room.WORK)
"""Rooms whose objects are of use for a while only. Stems go with their SeparationJobs, never by age."""

Rule = dict[str, Any]


def lifecycle_rules(install_id: str, days: int, present: Sequence[Rule]) -> list[Rule]:
    """Return the bucket's rules with this installation's own in their place, at the end."""
    ours = [
        {
            "ID": _name(install_id, room),
            "Status": "Enabled",
            "Filter": {"Prefix": f"{install_id}/{room}/"},
            "Expiration": {"Days": days},
        }
        for room in _AGING
    ]
    return [*_others(present, {rule["ID"] for rule in ours}), *ours]


def cors_rules(install_id: str, origins: Sequence[str], present: Sequence[Rule]) -> list[Rule]:
    """Return the bucket's rules with this installation's own in its place: pages of these origins read and upload."""
    ours = {
        "ID": _name(install_id, "page"),
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["content-type", "if-none-match", "range"],
        "ExposeHeaders": ["Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag"],
        "MaxAgeSeconds": 3600,
    }
    return [*_others(present, {ours["ID"]}), *([ours] if origins else [])]


def _name(install_id: str, what: str) -> str:
    return f"stemyard-{install_id}-{what}"


def _others(present: Sequence[Rule], ours: set[Any]) -> list[Rule]:
    return [rule for rule in present if rule.get("ID") not in ours]


async def set_up(settings: Settings, days: int, origins: Sequence[str] | None) -> list[str]:
    """Make the bucket where it is missing, and set its rules; return a line about each part.

    Args:
        settings: the operator's.
        days: age at which uploads and source audio go.
        origins: pages that may read and upload; None leaves the rules for pages as they are.

    Raises:
        StoreError: the store does not answer, or refuses us.
    """
    objects, install_id = ObjectStoreClient(settings), settings.stemyard_install_id
    rooms = " and ".join(f"{install_id}/{room}/" for room in _AGING)

    async def age() -> None:
        await objects.set_lifecycle(lifecycle_rules(install_id, days, await objects.lifecycle()))

    async def open_to_pages() -> None:
        await objects.set_cors(cors_rules(install_id, origins or (), await objects.cors()))

    try:
        await objects.prepare()
        told = [f"bucket {settings.r2_bucket}: there"]
        told.append(await _tried(f"lifecycle: {rooms} go after {days} days", age))
        if origins is not None:
            told.append(await _tried(f"CORS: {', '.join(origins) or 'no page'} may read and upload", open_to_pages))
        return told
    finally:
        await objects.close()


async def _tried(done: str, act: Callable[[], Awaitable[None]]) -> str:
    try:
        await act()
    except ObjectStoreUnsupportedError:
        return f"{done.partition(':')[0]}: this store knows no such rules; nothing was set"
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the bucket up with the operator's settings, from its environment; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        lines = asyncio.run(set_up(load_settings(), given.days, given.origin))
    except OperatorError as error:
        sys.stderr.write(f"the bucket was not set up: {error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stemyard_operator.bucket_rules", description=__doc__)
    parser.add_argument("--days", type=_days, default=DAYS, help="age at which uploads and source audio go")
    parser.add_argument("--origin", type=_origin, action="append", help="a page, as https://host[:port]; repeatable")
    return parser


def _days(text: str) -> int:
    if not text.isdigit() or int(text) < _LEAST_DAYS:
        raise argparse.ArgumentTypeError(f"must be at least {_LEAST_DAYS}: so long a separation may wait")
    return int(text)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise argparse.ArgumentTypeError("must be https://host or https://host:port, without a path")
    return text


if __name__ == "__main__":
    sys.exit(main())
