"""Command line of the API: `stemyard-api` serves it, `stemyard-api keys new` creates an API key."""

import argparse
import json
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn
from pydantic import ValidationError

from stemyard_api.app import create_app
from stemyard_api.auth.api_keys import Scope
from stemyard_api.auth.key_file import create_entry
from stemyard_api.observability.logs import configure_logging
from stemyard_api.protocol import Protocol
from stemyard_api.settings import SettingsError, load_settings
from stemyard_contract.runtime import spare_what_stays

_DRAIN_SECONDS = 20
"""How long requests in flight may take after SIGTERM."""


class _Server(uvicorn.Server):
    """Ends open event streams on SIGTERM; uvicorn would wait for them until the drain timeout."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then exclude startup objects from garbage collection."""
        await super().startup(sockets)
        spare_what_stays()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain the event streams and begin the shutdown."""
        services = getattr(self.config.app.state, "services", None)  # type: ignore[union-attr]
        if services is not None:
            services.event_hub.drain()
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, `serve` without arguments, and return the exit code."""
    parser = argparse.ArgumentParser(prog="stemyard-api", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    new = keys.add_parser("new", help="create a key and its entry for the file of API_KEYS_FILE")
    new.add_argument("--id", required=True, help="id of the key; written into claims and logs")
    new.add_argument("--scopes", default="submit,read", help="comma-separated, of submit, read, admin")
    given = parser.parse_args(arguments)
    if given.command is None:
        return _serve()
    try:
        return _create_key(given.id, given.scopes)
    except ValueError as error:
        new.error("--id is invalid" if isinstance(error, ValidationError) else str(error))


def _create_key(key_id: str, scopes: str) -> int:
    """Print a new key to standard error, once, and its entry to standard output."""
    key, entry = create_entry(key_id, [Scope(name.strip()) for name in scopes.split(",")])
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
    config = uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104 - the network of its own container
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app applies TRUSTED_PROXIES itself
        loop="uvloop",
        http=Protocol,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    _Server(config).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
