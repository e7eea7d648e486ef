"""The server with its tools, on stdio or streamable HTTP."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from starlette.applications import Starlette

from stemyard_mcp.callers import Callers
from stemyard_mcp.files import Files
from stemyard_mcp.required_key import RequiredKey
from stemyard_mcp.tools import Tools

PATH: Final = "/mcp"
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_LONGEST_BODY: Final = 256 << 10
"""Bytes of a request; the largest arguments are a few kilobytes."""
_INSTRUCTIONS: Final = (
    "Separates songs into vocals and instrumental or other stems. Call separate, then wait until the track is "
    "completed, then download_links. What the API key may not do fails with a sentence that says so."
)


def mcp_server(callers: Callers, files: Files) -> MCPServer[None]:
    """Return a server with all tools."""
    tools = Tools(callers, files)
    server: MCPServer[None] = MCPServer(
        "stemyard", title="Stemyard", instructions=_INSTRUCTIONS, version=version("stemyard"), log_level="WARNING"
    )
    asks = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.status, tools.wait, tools.download_links, tools.models):
        server.add_tool(tool, annotations=asks)
    server.add_tool(tools.list_tracks, name="list", annotations=asks)
    starts = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
    server.add_tool(tools.separate, annotations=starts)
    ends = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    server.add_tool(tools.cancel, annotations=ends)
    return server


def http_app(callers: Callers, files: Files, names: Sequence[str] = ()) -> Starlette:
    """Return the server for streamable HTTP as an ASGI application.

    Each request stands alone: there are no sessions, which one caller could take from another.

    Args:
        callers: whose key a call uses; a request without any key is answered with 401.
        files: which files of this machine may be sent.
        names: host names by which clients reach the server, beside this machine's own. A request to another name
            is refused: a page of a foreign site may have made its own name lead here (DNS rebinding).
    """
    hosts = [*_LOOPBACK_NAMES, *names]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[form for host in hosts for form in (host, f"{host}:*")],
        allowed_origins=[
            f"{scheme}://{form}" for host in hosts for scheme in ("http", "https") for form in (host, f"{host}:*")
        ],
    )
    app = mcp_server(callers, files).streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=_LONGEST_BODY,
        transport_security=security,
    )
    if not callers.shared:
        app.add_middleware(RequiredKey)
    return app
