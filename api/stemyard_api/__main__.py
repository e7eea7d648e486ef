"""Starts the API: `python -m stemyard_api`."""

import socket
import sys
from types import FrameType

import uvicorn

from stemyard_api.app import create_app
from stemyard_api.observability.logs import configure_logging
from stemyard_api.protocol import Protocol
from stemyard_api.settings import SettingsError, load_settings
from stemyard_contract.runtime import spare_what_stays

_DRAIN_SECONDS = 20
"""How long requests under way may take after SIGTERM."""


class _Server(uvicorn.Server):
    """Lets streams end when the process is told to, which uvicorn would wait for in vain."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin; what is there by then stays."""
        await super().startup(sockets)
        spare_what_stays()

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
