"""Starts the API: `python -m stemyard_api`."""

import gc
import socket
import sys
from types import FrameType

import uvicorn

from stemyard_api.app import create_app
from stemyard_api.logs import configure_logging
from stemyard_api.protocol import Protocol
from stemyard_api.settings import SettingsError, load_settings

_DRAIN_SECONDS = 20
"""How long requests under way may take after SIGTERM."""
_GARBAGE = (50_000, 20, 50)
"""Objects made and not yet freed before they are searched for cycles, of which requests leave next to none."""


class _Server(uvicorn.Server):
    """Lets streams end when the process is told to, which uvicorn would wait for in vain."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and leave what is there by then out of every later search for garbage: it stays."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        services = getattr(self.config.app.state, "services", None)  # type: ignore[union-attr]
        if services is not None:
            services.hub.drain()
        super().handle_exit(sig, frame)


def main() -> int:
    """Serve until told to stop; return the exit code."""
    try:
        settings = load_settings()
        app = create_app(settings)
    except SettingsError as error:
        sys.stderr.write(f"stemyard-api cannot start: {error}\n")
        return 2
    configure_logging()
    config = uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104 - a container's own network
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app itself believes TRUSTED_PROXIES, and nobody else
        loop="uvloop",
        http=Protocol,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    _Server(config).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
