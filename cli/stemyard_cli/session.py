"""The connection of a command to the installation that is meant."""

import os
from dataclasses import dataclass

import typer

from stemyard_cli.configuration import Configuration, effective, require
from stemyard_client import AsyncClient, Client


@dataclass(frozen=True, slots=True)
class Session:
    """What the options before the command say."""

    url: str | None = None

    def settings(self) -> Configuration:
        """Return the settings that count, whether or not they name an installation."""
        return effective(self.url, os.environ)

    def required(self) -> Configuration:
        """Return the settings.

        Raises:
            ConfigurationError: they name no installation.
        """
        return require(self.settings())

    def client(self) -> Client:
        """Return a client, which the caller closes.

        Raises:
            ConfigurationError: no installation is configured.
        """
        settings = self.required()
        return Client(settings.url, settings.key or None)

    def async_client(self) -> AsyncClient:
        """Return a client for asyncio; otherwise as `client`."""
        settings = self.required()
        return AsyncClient(settings.url, settings.key or None)


def session_of(context: typer.Context) -> Session:
    """Return the session of a command."""
    found = context.find_object(Session)
    return found or Session()
