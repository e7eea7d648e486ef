"""Runs the server until its client goes or the process is interrupted."""

import socket
from collections.abc import Callable, Sequence
from typing import Final

import uvicorn

from stemyard_mcp.callers import Callers
from stemyard_mcp.files import Files
from stemyard_mcp.server import PATH, http_app, mcp_server

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Addresses that only this machine reaches."""
_GRACE_SECONDS: Final = 3
_CONNECTIONS: Final = 256


def serve_stdio(callers: Callers, files: Files) -> None:
    """Serve one client on stdin and stdout, until stdin ends."""
    mcp_server(callers, files).run("stdio")


def serve_http(
    callers: Callers, files: Files, host: str, port: int, names: Sequence[str], say: Callable[[str], None]
) -> None:
    """Serve streamable HTTP until the process is interrupted.

    Args:
        callers: whose key a call uses.
        files: which files of this machine may be sent.
        host: address to listen on.
        port: port; 0 for any.
        names: host names by which clients reach it, beside this machine's own.
        say: told the address once the server listens.

    Raises:
        OSError: the address cannot be listened on.
    """
    config = uvicorn.Config(
        http_app(callers, files, names),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        say(f"listening on http://{shown}:{listener.getsockname()[1]}{PATH}")
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
