"""Maximum size and encoding of request bodies."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, HttpMiddleware, content_length
from stemyard_api.errors import EncodedBodyError, RequestTooLargeError
from stemyard_api.problems import problem_response

BODY_LIMIT: Final = 1024 * 1024
"""Maximum size of a request body in bytes; files do not pass through the API."""


class BodyLimit(HttpMiddleware):
    """Refuses encoded bodies and those whose Content-Length is above the limit, and stops reading larger ones."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope[HEADERS].get(b"content-encoding", b"identity").lower() != b"identity":
            await problem_response(EncodedBodyError(), scope)(scope, receive, send)
            return
        announced = 0.0 if b"content-length" not in scope[HEADERS] else content_length(scope[HEADERS])
        if announced is None or announced > BODY_LIMIT:
            await problem_response(RequestTooLargeError(), scope)(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT:
                # FastAPI propagates only HTTPException while it reads a body
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within_limit, send)
