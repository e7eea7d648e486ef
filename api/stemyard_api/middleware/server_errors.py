"""Responses to unexpected errors."""

import logging

from starlette.types import Message, Receive, Scope, Send

from stemyard_api.asgi import REQUEST_ID, HttpMiddleware
from stemyard_api.errors import ApiError
from stemyard_api.problems import problem_response

_log = logging.getLogger(__name__)


class ServerErrors(HttpMiddleware):
    """Responds 500 to unexpected exceptions and logs them; the response does not name the cause."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started = False

        async def send_and_record(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_record)
        except Exception:
            _log.exception("unexpected error", extra={"request_id": scope.get(REQUEST_ID)})
            if started:
                raise
            await problem_response(ApiError(), scope)(scope, receive, send)
