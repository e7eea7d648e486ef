"""The CAs that a separator trusts beside the public ones, for the desk and the object store. Pure."""

from typing import Any, Final

from stemyard_operator.config.tls_settings import TlsSettings

_VOLUME: Final = "stemyard-ca"
_FOLDER: Final = "/var/run/secrets/stemyard-ca"
_KEY: Final = "ca.crt"


def authority_environment(settings: TlsSettings) -> dict[str, str]:
    """Return the variable that names the folder of the CAs, if there are any."""
    return {"STEMYARD_CA_DIR": _FOLDER} if _sources(settings) else {}


def authority_volumes(settings: TlsSettings) -> list[dict[str, Any]]:
    """Return the volume of the CAs. Of a Secret it has one key: the private key beside it stays out of the pod."""
    sources = _sources(settings)
    return [{"name": _VOLUME, "projected": {"sources": sources}}] if sources else []


def authority_mounts(settings: TlsSettings) -> list[dict[str, Any]]:
    """Return the mount of that volume."""
    return [{"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}] if _sources(settings) else []


def _sources(settings: TlsSettings) -> list[dict[str, Any]]:
    # not optional: without its CAs a pod could only fail
    config_map, secrets = settings.separator_ca_config_map, settings.separator_ca_secrets
    found = [{"configMap": {"name": config_map, "items": [{"key": _KEY, "path": _KEY}]}}] if config_map else []
    return [*found, *({"secret": {"name": name, "items": [{"key": _KEY, "path": f"{name}.crt"}]}} for name in secrets)]
