"""The secrets that webhooks are signed with, as they are at this moment."""

from pathlib import Path

from stemyard_contract.webhook import SecretError, standard_key
from stemyard_operator.webhook_settings import WebhookSettings

_NAMES = ("WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS")


def secrets(settings: WebhookSettings) -> tuple[str, ...]:
    """Return the secrets, newest first; none where nothing is configured.

    A folder's files are read anew each time: the kubelet changes them when the Secret changes.

    Raises:
        SecretError: one cannot be used.
        OSError: a file cannot be read.
    """
    folder = settings.webhook_secrets_dir
    if folder is None:
        given = [settings.webhook_secret, settings.webhook_secret_previous]
    else:
        given = [_read(folder / name) for name in _NAMES]
    found = tuple(secret for secret in given if secret)
    if given[0] is None and found:
        raise SecretError("WEBHOOK_SECRET_PREVIOUS is there without WEBHOOK_SECRET")
    for secret in found:
        standard_key(secret)
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
