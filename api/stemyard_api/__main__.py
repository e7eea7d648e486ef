"""Command line of the API: `stemyard-api` serves it, `stemyard-api keys new` creates an API key."""

import argparse
import asyncio
import json
import resource
import socket
import sys
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from stemyard_api.app import create_app, create_health_app
from stemyard_api.auth.api_keys import Scope
from stemyard_api.auth.key_file import create_entry
from stemyard_api.connections import ConnectionLimits, Connections
from stemyard_api.observability.logs import configure_logging
from stemyard_api.protocol import Protocol
from stemyard_api.settings import SettingsError, load_settings
from stemyard_contract.runtime import freeze_startup_objects
from stemyard_contract.validation import error_lines

_DRAIN_SECONDS = 20
"""How long requests in flight may take after SIGTERM."""


_TICKS_PER_SECOND = 10
_HEALTH_CONNECTIONS = 64
"""Maximum number of connections to the health port."""


class _Server(uvicorn.Server):
    """Ends open event streams on SIGTERM, for which uvicorn would wait, and connections that exceed a time limit.

    It also serves the health port, with the same event loop, so that probes tell whether that loop works.
    """

    def __init__(self, config: uvicorn.Config, health: uvicorn.Config) -> None:
        super().__init__(config)
        self._health = health

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then exclude startup objects from garbage collection."""
        await super().startup(sockets)
        await self._open_health_port()
        freeze_startup_objects()

    async def _open_health_port(self) -> None:
        health = self._health
        health.load()
        made = cast(Any, health.http_protocol_class)  # typed as a class with other arguments
        make = partial(made, config=health, server_state=self.server_state, app_state={})
        try:
            self.servers.append(await asyncio.get_running_loop().create_server(make, health.host, health.port))
        except OSError as error:
            sys.stderr.write(f"stemyard-api cannot listen on HEALTH_PORT: {error}\n")
            await self.lifespan.shutdown()
            raise SystemExit(STARTUP_FAILURE) from None

    async def on_tick(self, counter: int) -> bool:
        """End the connections that have exceeded a time limit, once a second."""
        if counter % _TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                cast(Protocol, connection).expire(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain the event streams and begin the shutdown."""
        services = getattr(self.config.app.state, "services", None)  # type: ignore[union-attr]
        if services is not None:
            # not at once: a signal handler may interrupt the code that it would change
            asyncio.get_running_loop().call_soon_threadsafe(services.event_hub.drain)
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, `serve` without arguments, and return the exit code."""
    parser = argparse.ArgumentParser(prog="stemyard-api", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    new = keys.add_parser("new", help="create a key and its entry for the file of API_KEYS_FILE")
    new.add_argument("--id", required=True, help="id of the key; written into claims and logs")
    new.add_argument("--scopes", default="submit,read", help="comma-separated, of submit, read, admin")
    new.add_argument(
        "--namespace", action="append", default=[], help="namespace whose kubectl users' tracks it sees; repeatable"
    )
    given = parser.parse_args(arguments)
    if given.command is None:
        return _serve()
    try:
        return _create_key(given.id, given.scopes, given.namespace)
    except ValueError as error:
        new.error("; ".join(error_lines(error)) if isinstance(error, ValidationError) else str(error))


def _create_key(key_id: str, scopes: str, namespaces: Sequence[str]) -> int:
    """Print a new key to standard error, once, and its entry to standard output."""
    key, entry = create_entry(key_id, [Scope(name.strip()) for name in scopes.split(",")], namespaces)
    sys.stderr.write(f"The key, shown only now: {key}\n")
    fields = entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    sys.stdout.write(f"# one item of `keys:` in the file that API_KEYS_FILE names\n- {json.dumps(fields)}\n")
    return 0


def _serve() -> int:
    """Serve until SIGTERM or SIGINT."""
    try:
        settings = load_settings()
        app = create_app(settings)
    except SettingsError as error:
        sys.stderr.write(f"stemyard-api cannot start: {error}\n")
        return 2
    configure_logging()
    _allow_open_files()
    connections = Connections(settings.connection_limits)
    config = _config(app, settings.port, connections)
    health = _config(
        create_health_app(app), settings.health_port, Connections(ConnectionLimits(total=_HEALTH_CONNECTIONS))
    )
    _Server(config, health).run()
    return 0


def _config(app: ASGIApp, port: int, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104 - the network of its own container
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app applies TRUSTED_PROXIES itself
        loop="uvloop",
        http=cast(Any, partial(Protocol, connections)),  # uvicorn calls it as a class
        ws="none",
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _allow_open_files() -> None:
    """Raise the limit of open files as far as the system allows; a container's may be below that of connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    raise SystemExit(main())
