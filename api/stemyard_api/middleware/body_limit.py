"""Maximum size of request bodies."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, HttpMiddleware
from stemyard_api.errors import RequestTooLargeError
from stemyard_api.problems import problem_response

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a request body; files do not pass through the API."""


class BodyLimit(HttpMiddleware):
    """Refuses requests whose Content-Length is above the limit, and stops reading bodies that exceed it."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        announced = scope[HEADERS].get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > BODY_LIMIT:
            await problem_response(RequestTooLargeError(), scope)(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT:
                # FastAPI passes only HTTPException on while it reads a body
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within_limit, send)
