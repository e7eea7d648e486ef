"""The response that sends an archive of stems."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing, suppress
from typing import cast

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from stemyard_api.asgi import STREAM
from stemyard_api.clients.s3_reader import ObjectMissingError, ObjectReader
from stemyard_api.errors import TrackNotFoundError, UnavailableError
from stemyard_api.services.archive import archive, archive_disposition, entries_of
from stemyard_contract.mirror import MirrorRecord

_log = logging.getLogger(__name__)


class ArchiveStream(Response):
    """Sends the archive of a track until it ends or the client leaves."""

    def __init__(self, parts: AsyncGenerator[bytes], first: bytes, disposition: str, held: ExitStack) -> None:
        self.status_code, self.background = 200, None
        self._parts, self._first, self._held = parts, first, held
        self._start = [
            (b"content-type", b"application/zip"),
            (b"content-disposition", disposition.encode("latin-1")),
            (b"x-robots-tag", b"noindex, nofollow"),
            (b"x-accel-buffering", b"no"),
        ]

    @classmethod
    async def open(cls, reader: ObjectReader, record: MirrorRecord, leave: Callable[[], None]) -> "ArchiveStream":
        """Return the response for a completed track; `leave` is called when it has ended, or cannot be opened.

        Raises:
            TrackNotFoundError: the first stem no longer exists.
            UnavailableError: the store does not respond, or too many downloads are under way.
        """
        with ExitStack() as held:
            held.callback(leave)
            held.enter_context(reader.download())
            modified = record.ended_at or record.created
            parts = cast(AsyncGenerator[bytes], archive(reader, entries_of(record), modified))
            try:
                first = await anext(parts)
            except ObjectMissingError:
                raise TrackNotFoundError("The files of this track no longer exist.") from None
            return cls(parts, first, archive_disposition(record), held.pop_all())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the response; the middleware stack returns before the archive is sent."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(self._start)})
        except BaseException:
            await self._close()
            raise
        scope[STREAM] = self._serve

    async def _serve(self, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def _send(self, send: Send) -> None:
        try:
            async with aclosing(self._parts):
                await _send_part(send, self._first)
                async for part in self._parts:
                    await _send_part(send, part)
            await send({"type": "http.response.body", "body": b""})
        except (UnavailableError, ObjectMissingError) as error:
            # without its end the response is incomplete, which the client sees when the connection is closed
            _log.warning("a download broke off", extra={"cause": type(error).__name__})
        finally:
            self._held.close()

    async def _close(self) -> None:
        await self._parts.aclose()
        self._held.close()


async def _left(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_part(send: Send, part: bytes) -> None:
    if part:
        await send({"type": "http.response.body", "body": part, "more_body": True})
