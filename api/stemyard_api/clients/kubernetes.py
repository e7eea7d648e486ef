"""Kubernetes client: creates, reads, lists and patches SeparationJobs."""

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import ClientConnectionError, ClientError
from kubernetes.aio import client, config

from stemyard_api.errors import InvalidRequestError, UnavailableError
from stemyard_contract.separationjob import GROUP, PLURAL, VERSION

TIMEOUT_SECONDS: Final = 3.0
"""Of one call; a write that comes later than this is harmless, since names and tests decide."""
_ATTEMPTS: Final = 2
_PAGE: Final = 500
_JSON: Final = "application/json"
_JSON_PATCH: Final = "application/json-patch+json"

Resource = dict[str, Any]

_log = logging.getLogger(__name__)


class KubernetesUnavailableError(UnavailableError):
    """The Kubernetes API server does not answer, or not as it should."""


class AlreadyExistsError(Exception):
    """A resource of this name exists."""


class NoKubernetesConfigError(RuntimeError):
    """Neither a service account nor a kubeconfig says where the cluster is."""


async def connect(namespace: str) -> "KubernetesClient":
    """Return a client of the cluster this process belongs to: KUBECONFIG where set, else its service account.

    Raises:
        NoKubernetesConfigError: there is neither.
    """
    configuration = client.Configuration()
    try:
        if kubeconfig := os.environ.get("KUBECONFIG"):
            await config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as error:
        raise NoKubernetesConfigError(f"no Kubernetes cluster: {error}; set KUBECONFIG or run in a pod") from error
    return KubernetesClient(client.ApiClient(configuration), namespace)


class KubernetesClient:
    """SeparationJobs of one namespace as plain JSON. Every method raises KubernetesUnavailableError on no answer."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api: Any = api
        self._collection = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"

    async def create(self, manifest: Resource) -> Resource:
        """Create a SeparationJob and return it as stored.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        status, body = await self._call("POST", self._collection, manifest)
        if status == 409:
            raise AlreadyExistsError
        return _expect(status, body, 201)

    async def read(self, name: str) -> Resource | None:
        """Return a SeparationJob, or None when there is none."""
        status, body = await self._call("GET", f"{self._collection}/{name}")
        return None if status == 404 else _expect(status, body, 200)

    async def patch(self, name: str, operations: Sequence[Resource]) -> Resource | None:
        """Apply a JSON patch and return the resource; None when it is gone or a test or rule of it failed."""
        status, body = await self._call("PATCH", f"{self._collection}/{name}", list(operations), _JSON_PATCH)
        return None if status in {404, 409, 422} else _expect(status, body, 200)

    async def delete(self, name: str, uid: str, resource_version: str) -> bool:
        """Delete a SeparationJob if it is still as it was read; return False when it has changed since."""
        body = {"preconditions": {"uid": uid, "resourceVersion": resource_version}, "propagationPolicy": "Background"}
        status, answer = await self._call("DELETE", f"{self._collection}/{name}", body)
        if status in {404, 409}:
            return status == 404
        _expect(status, answer, 200)
        return True

    async def items(self) -> AsyncIterator[Resource]:
        """Yield every SeparationJob, page by page."""
        token: str | None = None
        while True:
            found, token = await self.page(token)
            for item in found:
                yield item
            if token is None:
                return

    async def page(self, token: str | None) -> tuple[list[Resource], str | None]:
        """Return SeparationJobs from a page's token on, from the first without one, and the next page's token.

        Raises:
            InvalidRequestError: the token is none, or too old.
        """
        query = {"limit": str(_PAGE)} | ({"continue": token} if token is not None else {})
        status, body = await self._call("GET", f"{self._collection}?{urlencode(query)}")
        if token is not None and status in {400, 410}:
            raise InvalidRequestError.for_field("cursor", "is none of ours, or too old; begin anew")
        page = _expect(status, body, 200)
        return page["items"], page["metadata"].get("continue") or None

    async def ping(self) -> None:
        """Ask whether the API server and its database are ready."""
        status, body = await self._call("GET", "/readyz")
        if status != 200:
            raise _unexpected(status, body)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _call(self, method: str, path: str, body: object = None, content_type: str = _JSON) -> tuple[int, bytes]:
        """Send one request; again, once, where the connection broke: names and tests make every call repeatable."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._send(method, path, body, content_type)
            except ClientConnectionError as error:
                if attempt == _ATTEMPTS:
                    raise _no_answer(error) from error
                await asyncio.sleep(random.uniform(0.05, 0.15))
            except (ClientError, TimeoutError, OSError) as error:
                raise _no_answer(error) from error
        raise AssertionError("unreachable")

    async def _send(self, method: str, path: str, body: object, content_type: str) -> tuple[int, bytes]:
        configuration = self._api.configuration
        headers = {"Accept": _JSON, "Content-Type": content_type, "User-Agent": "stemyard-api"}
        for setting in (await configuration.auth_settings()).values():
            headers[setting["key"]] = setting["value"]
        async with asyncio.timeout(TIMEOUT_SECONDS):
            response = await self._api.rest_client.request(
                method, configuration.host + path, headers=headers, body=body, _request_timeout=TIMEOUT_SECONDS
            )
            return int(response.status), await response.read()


def _expect(status: int, body: bytes, wanted: int) -> Resource:
    if status != wanted:
        raise _unexpected(status, body)
    resource: Resource = json.loads(body)
    return resource


def _no_answer(error: BaseException) -> KubernetesUnavailableError:
    _log.warning("the Kubernetes API server does not answer", extra={"cause": type(error).__name__})
    return KubernetesUnavailableError()


def _unexpected(status: int, body: bytes) -> KubernetesUnavailableError:
    # the server's own words: which permission is missing, or which rule a manifest broke
    _log.error(
        "the Kubernetes API server refused a call",
        extra={"status": status, "answer": body[:512].decode("utf-8", "replace")},
    )
    return KubernetesUnavailableError()
