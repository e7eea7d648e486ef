"""The application: routes, middleware and services. `uvicorn --factory stemyard_api.app:create_app` serves it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from stemyard_api import background, problems
from stemyard_api.auth.api_keys import Keyring
from stemyard_api.auth.key_file import load_keyring, watch_key_file
from stemyard_api.dependencies import open_services
from stemyard_api.middleware.stack import inner_middleware, outer_middleware
from stemyard_api.observability.logs import configure_logging
from stemyard_api.routes import (
    admin,
    batch,
    capabilities,
    documentation,
    events,
    health,
    jobs,
    queue,
    registered_webhooks,
    separations,
    shares,
    uploads,
    usage,
    webhooks,
)
from stemyard_api.schemas.openapi import complete
from stemyard_api.settings import Settings, load_settings

_DESCRIPTION = "Ask for a song; get its vocals and instrumental."

_ROUTES = (
    separations,
    jobs,
    events,
    shares,
    batch,
    uploads,
    capabilities,
    queue,
    usage,
    admin,
    webhooks,  # before the next, whose parameter matches its paths as well
    registered_webhooks,
    health,
    documentation,
)


class App(FastAPI):
    """FastAPI with middleware outside its own."""

    def __init__(self, *args: Any, outer: Sequence[Middleware], **settings: Any) -> None:  # noqa: ANN401 - FastAPI's
        super().__init__(*args, **settings)
        self.outer = list(outer)

    def build_middleware_stack(self) -> ASGIApp:
        """Return the complete middleware stack around the routes."""
        app = super().build_middleware_stack()
        for layer in reversed(self.outer):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        return app


def create_app(settings: Settings | None = None) -> App:
    """Return the app.

    Args:
        settings: if None, they are read from the environment and logging is configured.

    Raises:
        SettingsError: the environment is invalid, or there is no API key.
    """
    if settings is None:
        settings = load_settings()
        configure_logging()
    keyring = load_keyring(settings)
    app = App(
        title="Stemyard",
        description=_DESCRIPTION,
        version=version("stemyard"),
        openapi_url=None,  # routes/documentation.py serves it
        redirect_slashes=False,
        # FastAPI's own telemetry looks for providers at every request, and exports client data
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(settings, keyring),
        outer=outer_middleware(keyring, settings),
        middleware=inner_middleware(keyring, settings),
    )
    routers = [module.router for module in _ROUTES]
    problems.register(app, [route for router in routers for route in router.routes])
    for router in routers:
        app.include_router(router)
    _complete_document(app)
    return app


def create_health_app(app: App) -> Starlette:
    """Return the app of the health port, which shows the state of another app."""
    health_app = Starlette(routes=list(health.HEALTH_PORT_ROUTES))
    health_app.state = app.state
    return health_app


def _lifespan(settings: Settings, keyring: Keyring) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            following = partial(services.registered_webhooks.follow, keyring)
            async with background.running(partial(watch_key_file, settings, keyring), following):
                yield

    return lifespan


def _complete_document(app: FastAPI) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        return app.openapi_schema or complete(generate())

    app.openapi = openapi  # type: ignore[method-assign]
