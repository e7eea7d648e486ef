"""Cloudflare Workers KV over its HTTP API. The only importer of httpx.

Source: developers.cloudflare.com/api, Workers KV: one write a second to one key, values visible elsewhere after up to
60 seconds, TTLs of at least 60 seconds.
"""

from typing import Final
from urllib.parse import quote

import httpx

from stemyard_api.errors import UnavailableError
from stemyard_api.settings import Settings

_TIMEOUT_SECONDS: Final = 5.0
_PAGE: Final = 1000


class KvUnavailableError(UnavailableError):
    """Cloudflare KV does not respond, or refuses the token."""


class CloudflareKvClient:
    """One KV namespace. Every method raises KvUnavailableError if it does not respond."""

    def __init__(self, settings: Settings) -> None:
        token = settings.cloudflare_api_token
        account, namespace = settings.cloudflare_account_id, settings.cloudflare_kv_namespace_id
        self._client = httpx.AsyncClient(
            base_url=f"{settings.cloudflare_api_url}/accounts/{account}/storage/kv/namespaces/{namespace}/",
            headers={"Authorization": f"Bearer {token.get_secret_value() if token else ''}"},
            timeout=_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=90.0),
            transport=httpx.AsyncHTTPTransport(retries=1),
        )

    async def write(self, key: str, value: str, life_seconds: int) -> None:
        """Write a value with a TTL of at least 60 seconds."""
        params = {"expiration_ttl": str(life_seconds)}
        await self._call("PUT", f"values/{quote(key, safe='')}", params=params, content=value.encode())

    async def read(self, key: str) -> str | None:
        """Return a value, or None if it does not exist or has expired."""
        response = await self._call("GET", f"values/{quote(key, safe='')}")
        return None if response.status_code == 404 else response.text

    async def keys(self, prefix: str) -> list[str]:
        """Return the names of all keys that begin with a prefix."""
        names: list[str] = []
        params = {"prefix": prefix, "limit": str(_PAGE)}
        while True:
            response = await self._call("GET", "keys", params=params)
            try:
                document = response.json()
                names += [item["name"] for item in document["result"]]
                cursor = (document.get("result_info") or {}).get("cursor")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise KvUnavailableError("Cloudflare KV sent an invalid response.") from error
            if not cursor:
                return names
            params["cursor"] = cursor

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _call(
        self, method: str, path: str, *, params: dict[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        try:
            response = await self._client.request(method, path, params=params, content=content)
        except httpx.HTTPError as error:
            raise KvUnavailableError from error
        missing = response.status_code == 404 and path.startswith("values/") and method == "GET"
        if not response.is_success and not missing:
            raise KvUnavailableError(f"Cloudflare KV answered {response.status_code}.")
        return response
