"""`mcp`: tools for agents, over an installation."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from stemyard_cli.exit_codes import ExitCode
from stemyard_cli.output import say
from stemyard_cli.session import session_of


def mcp(
    context: typer.Context,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP instead of stdin and stdout.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")] = 8765,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", metavar="NAME", help="Name by which clients reach it; may be repeated."),
    ] = None,
    shared_key: Annotated[
        bool, typer.Option("--shared-key", help="Callers that bring no key use the configured one.")
    ] = False,
    files: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder whose files may be sent."),
    ] = None,
) -> None:
    """Serve tools for agents (Model Context Protocol) on stdio or, with --http, at http://HOST:PORT/mcp.

    On stdio the configured key is used, and any audio file of the user may be sent. Over HTTP each caller brings a
    key of its own in the header Authorization: Bearer, and no file may be sent without --files.
    """
    if importlib.util.find_spec("mcp") is None:
        say("This needs the package mcp: install stemyard with the extras cli and mcp, such as stemyard[cli,mcp].")
        raise typer.Exit(ExitCode.USAGE)
    settings = session_of(context).required()
    from stemyard_mcp.callers import Callers
    from stemyard_mcp.files import Files
    from stemyard_mcp.serving import LOOPBACK, serve_http, serve_stdio

    callers = Callers(settings.url, settings.key, remote=http, shared=shared_key)
    if not http:
        serve_stdio(callers, Files(True, files))
        return
    if host not in LOOPBACK and not allowed_hosts:
        raise typer.BadParameter("name the host by which clients reach it", param_hint="--allowed-host")
    if shared_key:
        say(f"Callers without a key of their own use the configured key to {settings.url}.")
    serve_http(callers, Files(files is not None, files), host, port, allowed_hosts or (), say)
