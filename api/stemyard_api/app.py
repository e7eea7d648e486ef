"""The application: routes, middleware and services. `uvicorn --factory stemyard_api.app:create_app` serves it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from stemyard_api import problems
from stemyard_api.auth.api_keys import Keyring
from stemyard_api.auth.key_file import load_keyring, watch_key_file
from stemyard_api.dependencies import open_services
from stemyard_api.middleware.stack import inner_middleware, outer_middleware
from stemyard_api.observability.logs import configure_logging
from stemyard_api.routes import (
    batch,
    capabilities,
    events,
    health,
    jobs,
    queue,
    separations,
    uploads,
    usage,
    webhooks,
)
from stemyard_api.schemas.openapi import complete
from stemyard_api.settings import Settings, load_settings

_DESCRIPTION = "Ask for a song; get its vocals and instrumental."

_ROUTED = (separations, jobs, events, batch, uploads, capabilities, queue, usage, webhooks, health)


class App(FastAPI):
    """FastAPI, and in front of its own layers those that answer most requests."""

    def __init__(self, *args: Any, outer: Sequence[Middleware], **settings: Any) -> None:  # noqa: ANN401 - FastAPI's
        super().__init__(*args, **settings)
        self.outer = list(outer)

    def build_middleware_stack(self) -> ASGIApp:
        """Return all layers around the routes."""
        app = super().build_middleware_stack()
        for layer in reversed(self.outer):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        return app


def create_app(settings: Settings | None = None) -> App:
    """Return the app.

    Args:
        settings: those of the environment when None, and then logging is configured too.

    Raises:
        SettingsError: the environment does not make sense, or there is no API key.
    """
    if settings is None:
        settings = load_settings()
        configure_logging()
    keyring = load_keyring(settings)
    app = App(
        title="Stemyard",
        description=_DESCRIPTION,
        version=version("stemyard"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own would look for providers at every request, and tell exporters what clients sent
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(settings, keyring),
        outer=outer_middleware(keyring, settings),
        middleware=inner_middleware(keyring, settings),
    )
    routers = [module.router for module in _ROUTED]
    for router in routers:
        app.include_router(router)
    problems.register(app, [route for router in routers for route in router.routes])
    _complete_document(app)
    return app


def _lifespan(settings: Settings, keyring: Keyring) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            following = asyncio.create_task(watch_key_file(settings, keyring))
            try:
                yield
            finally:
                following.cancel()

    return lifespan


def _complete_document(app: FastAPI) -> None:
    make = app.openapi

    def openapi() -> dict[str, Any]:
        return app.openapi_schema or complete(make())

    app.openapi = openapi  # type: ignore[method-assign]
