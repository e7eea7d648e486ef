"""Settings of tests, independent of the environment."""

from typing import Any

from stemyard_api.settings import Settings

KEY = "correct horse battery staple"


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "stemyard_install_id": "main",
        "stemyard_namespace": "stemyard",
        "api_secret_key": KEY,
    }
    return Settings(**{**values, **changes})
