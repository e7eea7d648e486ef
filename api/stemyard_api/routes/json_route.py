"""The class of routes with a JSON body."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from stemyard_api.schemas.json_bodies import load_json


class _JsonRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 - any JSON
        return load_json(await self.body())


class JsonRoute(APIRoute):
    """Refuses bodies with repeated names."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of one request."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json
