"""The tools. Their docstrings and the descriptions of their arguments are what agents read."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, cast

from mcp.server.mcpserver import Context
from pydantic import Field

from stemyard_client import Filters, Options, WaitTimeoutError
from stemyard_mcp.answers import Cancellation, Links, Models, Track, Tracks
from stemyard_mcp.callers import Callers
from stemyard_mcp.errors import told_to_the_agent
from stemyard_mcp.files import Files

LONGEST_WAIT: Final = 600
"""Seconds that one call of `wait` may take."""
_WAIT: Final = 45
"""Seconds of a `wait` by default: most clients give a call one minute."""
_MOST: Final = 100
SCOPES: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "separate": "submit",
        "cancel": "submit",
        "status": "read",
        "wait": "read",
        "list": "read",
        "download_links": "read",
        "models": None,
    }
)
"""What the API asks of the key for each tool, for the documentation; None for nothing."""
Call = Context[Any, Any]
TrackId = Annotated[str, Field(description="Id of the separation.", min_length=1, max_length=200)]


class Tools:
    """The tools, each one call of the API or a few.

    Args:
        callers: whose key a call uses.
        files: which files of this machine may be sent.
    """

    def __init__(self, callers: Callers, files: Files) -> None:
        self._callers, self._files = callers, files

    async def separate(
        self,
        context: Call,
        query: Annotated[
            str | None, Field(description="Words to search the song by, such as artist and title.")
        ] = None,
        url: Annotated[str | None, Field(description="Address of an audio or video file, or of a video page.")] = None,
        file: Annotated[
            str | None, Field(description="Path of an audio or video file on the server's machine.")
        ] = None,
        stems: Annotated[list[str] | None, Field(description="Stems, such as vocals and instrumental.")] = None,
        format: Annotated[str | None, Field(description="mp3, flac, wav, m4a or opus.")] = None,  # noqa: A002 - the API's
        model: Annotated[str | None, Field(description="One of the names that the tool models returns.")] = None,
        quality: Literal["fast", "balanced", "best"] | None = None,
    ) -> Track:
        """Separate a song into vocals and instrumental, or other stems. Give exactly one of query, url and file.

        It returns at once. A song that was separated before is completed already; for others call wait.
        """
        given = {"stems": stems, "format": format, "model": model, "quality": quality}
        options = cast(Options, {name: value for name, value in given.items() if value is not None})
        with told_to_the_agent():
            path = None if file is None else self._files.checked(file)
            async with self._callers.client(context.headers) as client:
                started = await client.separate(query=query, url=url, path=path, **options)
            return Track.of(started.job)

    async def status(self, context: Call, track_id: TrackId) -> Track:
        """Return the state of a separation: phase, progress, place in the queue, or why it failed."""
        with told_to_the_agent():
            async with self._callers.client(context.headers) as client:
                return Track.of(await client.job(track_id))

    async def wait(
        self,
        context: Call,
        track_id: TrackId,
        timeout_seconds: Annotated[int, Field(ge=1, le=LONGEST_WAIT, description="Longest time to wait.")] = _WAIT,
    ) -> Track:
        """Wait until a separation ends, and return its state. If it is processing still, call wait again."""
        with told_to_the_agent():
            async with self._callers.client(context.headers) as client:
                try:
                    async for job in client.follow(track_id, timeout_seconds):
                        await context.report_progress(job.progress, 100.0, job.phase)
                        last = job
                except WaitTimeoutError:
                    last = await client.job(track_id)
                return Track.of(last)

    async def list_tracks(
        self,
        context: Call,
        status: Literal["processing", "completed", "failed"] | None = None,
        text: Annotated[str | None, Field(description="Words of the query, title or artist.")] = None,
        limit: Annotated[int, Field(ge=1, le=_MOST)] = 20,
    ) -> Tracks:
        """List separations of this key, newest first."""
        given = {"status": status, "text": text}
        filters = cast(Filters, {name: value for name, value in given.items() if value is not None})
        with told_to_the_agent():
            async with self._callers.client(context.headers) as client:
                return Tracks(tracks=[Track.of(job) async for job in client.jobs(limit, **filters)])

    async def download_links(self, context: Call, track_id: TrackId) -> Links:
        """Return links to the stems of a completed separation. Whoever has a link can download the file."""
        with told_to_the_agent():
            async with self._callers.client(context.headers) as client:
                job = await client.job(track_id)
            if job.status != "completed":
                raise ValueError(f"The track has no stems: it is {job.status}. {Track.of(job).next}")
            return Links(track_id=track_id, links=job.links, expires_at=job.expires_at)

    async def cancel(self, context: Call, track_id: TrackId) -> Cancellation:
        """Give up a separation. It goes on if other keys want it too."""
        with told_to_the_agent():
            async with self._callers.client(context.headers) as client:
                done = await client.cancel(track_id)
            return Cancellation(track_id=track_id, cancelled=done.cancelled, status=done.status)

    async def models(self, context: Call) -> Models:
        """Return the models, stems, formats and kinds of sources that can be asked for, and this key's scopes."""
        with told_to_the_agent():
            async with self._callers.client(context.headers) as client:
                return Models.of(await client.capabilities())
