"""Separates several sources at once: uploads, follows and downloads each."""

import asyncio
import mimetypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stemyard_cli.boards import Board
from stemyard_cli.exit_codes import ExitCode, exit_code, sentence
from stemyard_cli.uploads_begun import UploadsBegun
from stemyard_client import ApiError, AsyncClient, AsyncSeparation, Job, Options, StemyardError

AT_ONCE: Final = 8
"""Separations that are followed at once; each takes a connection."""
_UPLOAD_IS_NEEDED: Final = frozenset({"UPLOAD_MISSING", "UPLOAD_NOT_FOUND", "SOURCE_GONE"})


@dataclass
class Item:
    """One source and what became of it."""

    source: str | Path
    track_id: str = ""
    job: Job | None = None
    files: dict[str, Path] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.source.name if isinstance(self.source, Path) else self.source

    @property
    def code(self) -> ExitCode:
        """Exit code of it."""
        return ExitCode.OK if self.error is None else exit_code(self.error)

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        result: dict[str, Any] = {"source": str(self.source), "track_id": self.track_id or None}
        if self.job is not None:
            result |= self.job.model_dump(exclude_unset=True, exclude={"track_id"})
        if self.error is not None:
            result |= {"error": str(self.error), "code": getattr(self.error, "code", "io_error")}
        if self.files:
            result["files"] = {stem: str(path) for stem, path in self.files.items()}
        return result


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is done with each source.

    Attributes:
        options: of the separation.
        folder: for the stems; None if they are not downloaded.
        wait: whether to wait for the end.
        timeout_seconds: longest wait for each; None for as long as it takes.
        overwrite: whether existing files may be replaced.
        at_once: number of sources at once.
    """

    options: Options
    folder: Path | None
    wait: bool = True
    timeout_seconds: float | None = None
    overwrite: bool = False
    at_once: int = AT_ONCE


def source_of(argument: str, *, query: bool = False) -> str | Path:
    """Return what an argument means: a file that exists, a URL, or words to search by.

    Raises:
        ValueError: it looks like the name of a file, and there is none.
    """
    if query or argument.lower().startswith(("http://", "https://")):
        return argument
    path = Path(argument)
    if path.is_file():
        return path
    kind = mimetypes.guess_type(argument)[0] or ""
    if path.is_dir() or os.sep in argument or kind.startswith(("audio/", "video/")):
        raise ValueError(f"There is no file {argument}. To search for these words, add --query.")
    return argument


async def separate_all(
    client: AsyncClient, items: Sequence[Item], wishes: Wishes, uploads: UploadsBegun, board: Board
) -> None:
    """Separate all items, a few at once; what fails is noted in its item and ends no other."""
    turns = asyncio.Semaphore(wishes.at_once)

    async def one(item: Item) -> None:
        async with turns:
            try:
                await _separate(client, item, wishes, uploads, board)
            except (StemyardError, OSError) as error:
                item.error = error
                board.fail(item.name, sentence(error))

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


async def _separate(client: AsyncClient, item: Item, wishes: Wishes, uploads: UploadsBegun, board: Board) -> None:
    if item.track_id:
        separation = await client.separation(item.track_id)
    elif isinstance(item.source, Path):
        separation = await _separate_file(client, item.source, wishes, uploads, board)
    else:
        separation = await client.separate(item.source, **wishes.options)
    item.track_id, item.job = separation.track_id, separation.job
    if wishes.wait:
        await _finish(separation, item, wishes, board)


async def _separate_file(
    client: AsyncClient, path: Path, wishes: Wishes, uploads: UploadsBegun, board: Board
) -> AsyncSeparation:
    known = uploads.get(path)
    if known is not None:
        try:
            # its separation may exist, although the service keeps an upload only until it is fetched
            return await client.separate(upload_id=known, **wishes.options)
        except ApiError as error:
            if error.code not in _UPLOAD_IS_NEEDED:
                raise
    upload_id = await client.upload(
        path,
        upload_id=known,
        on_begin=lambda upload_id: uploads.remember(path, upload_id),
        on_bytes=lambda done, size: board.transfer(path.name, "Uploading", done, size),
    )
    return await client.separate(upload_id=upload_id, **wishes.options)


async def _finish(separation: AsyncSeparation, item: Item, wishes: Wishes, board: Board) -> None:
    try:
        await separation.wait(wishes.timeout_seconds, on_change=lambda job: board.show(item.name, job))
    finally:
        item.job = separation.job
    if wishes.folder is None:
        board.end(item.name, "Completed")
        return
    item.files = await separation.download(
        wishes.folder,
        overwrite=wishes.overwrite,
        on_bytes=lambda done, size: board.transfer(item.name, "Downloading", done, size),
    )
    board.end(item.name, "Saved")
