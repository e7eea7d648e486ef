"""The OpenAPI document of the API as a file, from which the TypeScript client's types are generated."""

import json

from stemyard_api.app import create_app
from stemyard_api.settings import Settings


def api_document() -> str:
    """Return the document, which no setting changes."""
    settings = Settings(stemyard_install_id="document", stemyard_namespace="document", stemyard_insecure_dev=True)
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n"
