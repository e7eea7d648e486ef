"""Kubernetes client: creates, reads, lists and patches resources."""

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
"""Timeout of a call; a write that is applied later is harmless, because names and patch tests guard it."""
_ATTEMPTS: Final = 2
_PAGE: Final = 500
_SCANS: Final = 2
"""Lists of all resources that are read at once: each page takes some MB and a good part of a second."""
_TURN_SECONDS: Final = 15.0
"""How long a list may wait for its turn."""
_MISSING_SECONDS: Final = 1.0
_MISSING_LIMIT: Final = 10_000
_JSON: Final = "application/json"
_JSON_PATCH: Final = "application/json-patch+json"

Resource = dict[str, Any]

_log = logging.getLogger(__name__)


class KubernetesUnavailableError(UnavailableError):
    """The Kubernetes API server does not respond, or not as expected."""


class AlreadyExistsError(Exception):
    """A resource of this name exists."""


class NoKubernetesConfigError(RuntimeError):
    """There is neither a service account nor a kubeconfig."""


async def connect(namespace: str) -> "KubernetesClient":
    """Return a client of the cluster: of KUBECONFIG if set, else of the pod's service account.

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
    """Resources of one kind and namespace as plain JSON, SeparationJobs unless another kind is named.

    Every method raises KubernetesUnavailableError on failure.
    """

    def __init__(self, api: client.ApiClient, namespace: str, plural: str = PLURAL) -> None:
        self._api: Any = api
        self._namespace = namespace
        self._collection = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}"
        self._missing: dict[str, float] = {}
        """When to look up names again that did not exist, in the loop's seconds."""
        self._scans = asyncio.Semaphore(_SCANS)

    def of_kind(self, plural: str) -> "KubernetesClient":
        """Return a client of another kind of resource, over the same connections."""
        return KubernetesClient(self._api, self._namespace, plural)

    async def create(self, manifest: Resource) -> Resource:
        """Create a resource and return it as stored.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        self._missing.pop(manifest["metadata"]["name"], None)
        status, body = await self._call("POST", self._collection, manifest)
        self._missing.pop(manifest["metadata"]["name"], None)  # a concurrent read may have missed it
        if status == 409:
            raise AlreadyExistsError
        return _expect(status, body, 201)

    async def read(self, name: str) -> Resource | None:
        """Return a resource, or None if there is none."""
        status, body = await self._call("GET", f"{self._collection}/{name}")
        return None if status == 404 else _expect(status, body, 200)

    async def find(self, name: str) -> Resource | None:
        """Return a resource; None if there is none, or was none within the last second and none was made here.

        For ids that clients send: they cannot load the API server by asking for what does not exist.
        """
        now = asyncio.get_running_loop().time()
        if self._missing.get(name, 0.0) > now:
            return None
        resource = await self.read(name)
        if resource is None:
            if len(self._missing) >= _MISSING_LIMIT:
                self._missing.clear()
            self._missing[name] = now + _MISSING_SECONDS
        return resource

    async def patch(self, name: str, operations: Sequence[Resource]) -> Resource | None:
        """Apply a JSON patch and return the resource; None if it is gone, or a patch test or CRD rule failed."""
        status, body = await self._call("PATCH", f"{self._collection}/{name}", list(operations), _JSON_PATCH)
        return None if status in {404, 409, 422} else _expect(status, body, 200)

    async def delete(self, name: str, uid: str, resource_version: str) -> bool:
        """Delete a resource unless it has changed since it was read; return whether it is gone."""
        body = {"preconditions": {"uid": uid, "resourceVersion": resource_version}, "propagationPolicy": "Background"}
        status, answer = await self._call("DELETE", f"{self._collection}/{name}", body)
        if status in {404, 409}:
            return status == 404
        _expect(status, answer, 200)
        return True

    async def items(self) -> AsyncIterator[Resource]:
        """Yield every resource, page by page; a few lists are read at once, the others wait for their turn."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._scans.acquire()
        except TimeoutError:
            raise UnavailableError("Too many requests read all separations at once; try again.") from None
        try:
            token: str | None = None
            while True:
                page, token = await self.page(token)
                for item in page:
                    yield item
                if token is None:
                    return
        finally:
            self._scans.release()

    async def page(self, token: str | None) -> tuple[list[Resource], str | None]:
        """Return one page of resources, the first without a token, and the token of the next page.

        Raises:
            InvalidRequestError: the token is invalid or has expired.
        """
        query = {"limit": str(_PAGE)} | ({"continue": token} if token is not None else {})
        status, body = await self._call("GET", f"{self._collection}?{urlencode(query)}")
        if token is not None and status in {400, 410}:
            raise InvalidRequestError.for_field("cursor", "is invalid or has expired; start again without it")
        page = _expect(status, body, 200)
        return page["items"], page["metadata"].get("continue") or None

    async def ping(self) -> None:
        """Check that the API server and etcd are ready."""
        status, body = await self._call("GET", "/readyz")
        if status != 200:
            raise _unexpected(status, body)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _call(self, method: str, path: str, body: object = None, content_type: str = _JSON) -> tuple[int, bytes]:
        """Send a request, and retry it once if the connection broke; names and tests make every call repeatable."""
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
    # the response says which permission is missing or which rule the manifest violates
    _log.error(
        "the Kubernetes API server refused a call",
        extra={"status": status, "answer": body[:512].decode("utf-8", "replace")},
    )
    return KubernetesUnavailableError()
