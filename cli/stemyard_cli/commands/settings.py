"""`login`, `config` and `keys`: which installation is meant, and keys to it."""

import hashlib
import json
import os
import re
import secrets
import sys
from dataclasses import replace
from typing import Annotated, Final

import typer

from stemyard_cli.configuration import SETTINGS, file_path, read_file, write_file
from stemyard_cli.output import print_fields, print_line, say
from stemyard_cli.questions import answer
from stemyard_cli.session import session_of
from stemyard_client import Client

_KEY_BYTES: Final = 32
_SHOWN: Final = 4
_KEY_ID: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
"""What the API takes in its file of keys."""
keys = typer.Typer(help="API keys.", no_args_is_help=True)


def login(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="Address of the API.", metavar="[URL]")] = None,
) -> None:
    """Store the address of an installation and a key to it, after trying both.

    The key is asked for, or read from stdin where that is not a terminal; it is stored with mode 0600.
    """
    known = session_of(context).settings()
    address = (
        url or str(answer(lambda: typer.prompt("Address of the API", default=known.url or None, err=True)))
    ).rstrip("/")
    key = _asked_key()
    with Client(address, key.strip()) as client:
        found = client.capabilities().key
    path = file_path(os.environ)
    write_file(path, replace(read_file(path), url=address, key=key.strip()))
    say(f"Logged in to {address} as {found.id}, with the scopes {', '.join(found.scopes)}. Stored in {path}.")


def _asked_key() -> str:
    """Return the key that is typed, or the first line of stdin where that is not a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    return str(answer(lambda: typer.prompt("API key", hide_input=True, err=True)))


def config(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help=f"{', '.join(SETTINGS)}; without it all are shown.")] = None,
    value: Annotated[
        str | None,
        typer.Argument(help="New value; without it the value is printed. A key is asked for: give - for it."),
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Remove the value.")] = False,
) -> None:
    """Show or change the stored settings."""
    path = file_path(os.environ)
    stored = read_file(path)
    if name is None:
        settings = session_of(context).settings()
        masked = f"{settings.key[:_SHOWN]}..." if settings.key else "not set"
        rows = [("file", str(path)), ("url", settings.url or "not set"), ("key", masked), ("out", settings.out or ".")]
        print_fields(rows)
        return
    if name not in SETTINGS:
        raise typer.BadParameter(f"there is no setting {name}; there are {', '.join(SETTINGS)}")
    if name == "key" and value not in {None, "-"}:
        raise typer.BadParameter("a key is never an argument, which others on the machine could read: give - for it")
    if name == "key" and value is not None:
        value = _asked_key().strip()
    if value is not None or unset:
        changed = "" if unset or value is None else value
        write_file(path, replace(stored, **{name: changed}))
    else:
        print_line(getattr(stored, name))


@keys.command("new")
def new_key(
    key_id: Annotated[str, typer.Option("--id", help="Name of the key, which appears in claims and logs.")],
    scopes: Annotated[str, typer.Option(help="submit, read, admin; with commas.")] = "submit,read",
) -> None:
    """Create a key: printed once on stderr, and its entry for the API's file of keys on stdout."""
    if re.fullmatch(_KEY_ID, key_id) is None:
        raise typer.BadParameter("letters, digits and . _ - between them, 63 at most", param_hint="--id")
    wanted = [scope.strip() for scope in scopes.split(",")]
    if unknown := set(wanted) - {"submit", "read", "admin"}:
        raise typer.BadParameter(f"there is no scope {', '.join(sorted(unknown))}", param_hint="--scopes")
    key = f"stemyard_{secrets.token_urlsafe(_KEY_BYTES)}"
    say(key)
    digest = hashlib.sha256(key.encode()).hexdigest()
    print_line(f"- {{id: {json.dumps(key_id)}, sha256: {digest}, scopes: [{', '.join(wanted)}]}}")
