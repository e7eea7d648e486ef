"""The secrets that sign webhooks and the endpoints file, reread when the kubelet updates the mounted Secret."""

import logging
from pathlib import Path
from typing import Final

from stemyard_contract.webhook_signature import SecretError, standard_key
from stemyard_operator.config.webhook_endpoints import NO_ENDPOINTS, Endpoints, EndpointsError, parse
from stemyard_operator.config.webhook_settings import WebhookSettings
from stemyard_operator.errors import ConfigurationError

ENDPOINTS_FILE: Final = "endpoints.yaml"
_SECRET_FILES: Final = ("WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS")

log = logging.getLogger(__name__)


class EndpointRemovedError(Exception):
    """The deployment no longer has an endpoint of this name."""


class WebhookSecrets:
    """Current endpoints and secrets of the deployment."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._file_stat: tuple[int, ...] = ()
        self._endpoints = NO_ENDPOINTS

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints of the file, or of its last valid version if it is invalid now."""
        try:
            return self.read_endpoints()
        except (EndpointsError, OSError) as error:
            log.error("the webhook endpoints were not reloaded: %s", error)  # noqa: TRY400 - the message is enough
            return self._endpoints

    def read_endpoints(self) -> Endpoints:
        """Return the endpoints of the file, parsed again if it changed.

        Raises:
            EndpointsError: the file is invalid; raised once for each change of the file.
            OSError: the file cannot be read.
        """
        folder = self._settings.webhook_secrets_dir
        if folder is None:
            return NO_ENDPOINTS
        path = folder / ENDPOINTS_FILE
        try:
            found = path.stat()
        except FileNotFoundError:
            self._file_stat, self._endpoints = (), NO_ENDPOINTS
            return NO_ENDPOINTS
        file_stat = (found.st_ino, found.st_mtime_ns, found.st_size)
        if file_stat != self._file_stat:
            text, self._file_stat = path.read_text(), file_stat
            self._endpoints = parse(text)
        return self._endpoints

    def secrets(self, endpoint: str | None = None, key: str | None = None) -> tuple[str, ...]:
        """Return the secrets that sign a delivery, newest first: its endpoint's, else its API key's, else the default.

        Raises:
            EndpointRemovedError: the endpoint no longer exists.
            SecretError: a secret is invalid.
            OSError: a file cannot be read.
        """
        endpoints = self.endpoints
        if endpoint is not None:
            found = endpoints.by_name(endpoint)
            if found is None:
                raise EndpointRemovedError
            if found.secrets:
                return found.secrets
        of_key = endpoints.keys.get(key) if key is not None else None
        return of_key.secrets if of_key is not None and of_key.secrets else default_secrets(self._settings)


def default_secrets(settings: WebhookSettings) -> tuple[str, ...]:
    """Return the deployment's secrets, newest first; empty if none is configured. Files are read on each call.

    Raises:
        SecretError: a secret is invalid.
        OSError: a file cannot be read.
    """
    folder = settings.webhook_secrets_dir
    if folder is None:
        given = [settings.webhook_secret, settings.webhook_secret_previous]
    else:
        given = [_read(folder / name) for name in _SECRET_FILES]
    found = tuple(secret for secret in given if secret)
    if given[0] is None and found:
        raise SecretError("WEBHOOK_SECRET_PREVIOUS is there without WEBHOOK_SECRET")
    for secret in found:
        standard_key(secret)
    return found


def check_secrets(settings: WebhookSettings) -> None:
    """Check that secrets and endpoints can be used, and that a mounted folder has at least one of them.

    Raises:
        ConfigurationError: they cannot.
    """
    try:
        found = default_secrets(settings)
    except (SecretError, OSError) as error:
        raise ConfigurationError(f"WEBHOOK_SECRET: {error}") from error
    try:
        WebhookSecrets(settings).read_endpoints()
    except (EndpointsError, OSError) as error:
        raise ConfigurationError(f"{ENDPOINTS_FILE} in WEBHOOK_SECRETS_DIR: {error}") from error
    folder = settings.webhook_secrets_dir
    if folder is not None and not found and not (folder / ENDPOINTS_FILE).exists():
        raise ConfigurationError(
            f"WEBHOOK_SECRET: the Secret for webhooks does not exist or has neither the key WEBHOOK_SECRET nor "
            f"{ENDPOINTS_FILE}; add one, then restart the pod"
        )


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
