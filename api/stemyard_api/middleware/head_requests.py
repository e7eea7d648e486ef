"""HEAD for every route that takes GET: the same status and headers without the body (RFC 9110, 9.3.2)."""

from starlette.types import Message, Receive, Scope, Send

from stemyard_api.asgi import STREAM, HttpMiddleware, Stream


class HeadRequests(HttpMiddleware):
    """Passes HEAD on as GET and drops the body of the response; a stream is ended at once."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app(inner, receive, send_without_body)
        if "route" in inner:
            scope["route"] = inner["route"]
        if STREAM in inner:
            # it releases what it holds when it finds that the client has left
            stream: Stream = inner[STREAM]
            await stream(_disconnected, _drop)
            await send({"type": "http.response.body", "body": b""})


async def _disconnected() -> Message:
    return {"type": "http.disconnect"}


async def _drop(_message: Message) -> None:
    """Send nothing."""
