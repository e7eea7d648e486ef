"""Client of the API server: raw JSON, one timeout per call. The only importer of the kubernetes package."""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from pydantic_core import from_json, to_json
from yarl import URL

from stemyard_contract.separationjob import API_VERSION, FIELD_MANAGER, KIND
from stemyard_operator.clients.kubernetes_paths import (
    group_and_parts,
    jobs_path,
    rbac_verb_and_resource,
    separations_path,
)
from stemyard_operator.clients.server_clock import ServerClock
from stemyard_operator.errors import (
    ConfigurationError,
    ConflictError,
    JobRefusedError,
    KubernetesError,
    NotFoundError,
    OutdatedCrdError,
)

WRITE_SECONDS: Final = 3.0
"""Timeout of a write, so that it cannot outlive the lease under which it was started."""
_READ_SECONDS: Final = 10.0
_LIST_SECONDS: Final = 30.0
_READ_ATTEMPTS: Final = 4
_RETRY_BASE: Final = 0.2
_RETRY_MAX: Final = 5.0
_RETRY_AFTER_MAX: Final = 60.0
_RETRYABLE_STATUSES: Final = frozenset({0, 429, 500, 502, 503, 504})
PAGE: Final = 200
"""Objects per page of a LIST, which bounds the memory for untrimmed objects."""
_CONNECTIONS: Final = 32
_WATCH_SECONDS: Final = 300
_WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=150.0)
"""An API server sends a bookmark every minute or two; without one the connection is considered dead."""
_CLOCK_SECONDS: Final = 5.0
"""Minimum seconds between two comparisons of clocks."""
_CLOCK_LATENCY_SECONDS: Final = 1.0
"""Responses that took longer are not used to compare clocks."""
_APPLY: Final = "application/apply-patch+yaml"
_INTERNAL_ERROR: Final = 500
_GATEWAY_TIMEOUT: Final = 504
_NOT_REFUSALS: Final = frozenset({401, 408, 429})
"""Unauthenticated, timed out, too many requests."""
_EXISTS: Final = "AlreadyExists"
_UNDECLARED: Final = "field not declared in schema"
"""In the message, with status 500, if a server-side apply sets a field that the CRD lacks."""

Json = dict[str, Any]


class KubernetesClient:
    """A connection to the API server.

    Calls raise KubernetesError if the response is not a success: ConflictError for 409, NotFoundError for a 404
    in which the API server names the object.
    `read` retries a few times with jitter, unless the server asks to wait for longer; writes are never retried: the
    caller decides again from the new state, after the error's `retry_after`.
    `fence` is called before every write made as the leader and raises where the lease would not outlive it.
    `on_response` is called with verb and resource of every request, as in an RBAC rule, and the status (0: no
    response, or a broken watch).
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        fence: Callable[[], None] = lambda: None,
        on_response: Callable[[str, str, int], None] = lambda _verb, _resource, _status: None,
    ) -> None:
        self._configuration = configuration
        self._session: aiohttp.ClientSession | None = None
        self._fence = fence
        self._on_response = on_response
        self.clock = ServerClock()
        self._compare_at = 0.0

    @classmethod
    async def connect(
        cls,
        *,
        fence: Callable[[], None] = lambda: None,
        on_response: Callable[[str, str, int], None] = lambda _verb, _resource, _status: None,
    ) -> Self:
        """Return a connection configured by `KUBECONFIG` or the pod's service account.

        Raises:
            ConfigurationError: neither is available.
        """
        configuration = Configuration()
        try:
            if os.environ.get("KUBECONFIG"):
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    os.environ["KUBECONFIG"], client_configuration=configuration
                )
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise ConfigurationError(f"no API server configuration: {error}; set KUBECONFIG or run in a pod") from error
        return cls(configuration, fence=fence, on_response=on_response)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def read(self, path: str, query: Mapping[str, str] | None = None, seconds: float = _READ_SECONDS) -> Json:
        """Return the object at a path; retry transient errors for a bounded time."""
        for attempt in range(_READ_ATTEMPTS - 1):
            try:
                return await self.request("GET", path, query=query, seconds=seconds)
            except KubernetesError as error:
                if error.status not in _RETRYABLE_STATUSES or error.retry_after > _RETRY_MAX:
                    raise
                least = error.retry_after
            await asyncio.sleep(least + random.uniform(0, min(_RETRY_MAX, _RETRY_BASE * 2**attempt)))
        return await self.request("GET", path, query=query, seconds=seconds)

    async def pages(self, path: str, selector: str = "") -> AsyncIterator[list[Json]]:
        """Yield all objects of a collection, page by page; otherwise as `versioned_pages`."""
        async for page, _ in self.versioned_pages(path, selector):
            yield page

    async def versioned_pages(self, path: str, selector: str = "") -> AsyncIterator[tuple[list[Json], str]]:
        """Yield all objects of a collection, page by page, each with the one resource version that all are as of.

        An expired continue token (410) is raised: the next resync lists again.
        """
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self.read(path, query, _LIST_SECONDS)
            if "items" not in page or not isinstance(page.get("metadata"), dict):
                # what is absent from a list counts as deleted
                raise KubernetesError(0, "NotAList", f"GET {path}: {str(page)[:200]}")
            yield page["items"] or [], page["metadata"].get("resourceVersion", "")
            token = page["metadata"].get("continue")
            if not token:
                return
            query = {**query, "continue": token}

    async def watch(self, path: str, selector: str, version: str) -> AsyncGenerator[tuple[str, str, Json]]:
        """Yield type, resource version and object of each event since a version; if empty, existing objects first.

        The API server ends it after some minutes. A BOOKMARK event carries only a newer version.

        Raises:
            KubernetesError: no response, or a dead connection; status 410 if the version is too old.
        """
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        query |= {"labelSelector": selector} | ({"resourceVersion": version} if version else {})
        headers = {"Accept": "application/json", **await self._auth_headers()}
        resource = rbac_verb_and_resource("GET", path)[1]
        try:
            async with self._open().get(self._url(path, query), headers=headers, timeout=_WATCH_TIMEOUT) as response:
                self._on_response("watch", resource, response.status)
                if response.status >= 300:
                    _checked(path, response.status, await response.read(), _retry_after(response.headers))
                async for line in _lines(response.content.iter_any()):
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_response("watch", resource, 0)
            raise KubernetesError(0, type(error).__name__, f"watch {path}: {error}") from error

    async def apply_status(self, namespace: str, name: str, resource_version: int, status: Json) -> Json:
        """Replace the whole status by server-side apply if the object still has this version; return the object."""
        self._fence()
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": str(resource_version)},
            "status": status,
        }
        path = separations_path(namespace, name, "status")
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.request("PATCH", path, query=query, body=body, content_type=_APPLY)

    async def create_job(self, namespace: str, manifest: Mapping[str, Any]) -> Json:
        """Create a Job and return it.

        Raises:
            JobRefusedError: the API server refuses it.
        """
        self._fence()
        try:
            return await self.request("POST", jobs_path(namespace), body=manifest)
        except KubernetesError as error:
            if not is_refusal(error):
                raise
            refused = JobRefusedError(str(error))
            refused.retry_after = error.retry_after
            raise refused from error

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete the Job with this uid after its pods, which would run on and publish without a propagation policy."""
        self._fence()
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        await self.request("DELETE", jobs_path(namespace, name), body=options)

    async def delete_separation(self, namespace: str, name: str, uid: str, resource_version: int) -> None:
        """Delete the SeparationJob with this uid if it still has this version."""
        self._fence()
        options = {"preconditions": {"uid": uid, "resourceVersion": str(resource_version)}}
        await self.request("DELETE", separations_path(namespace, name), body=options)

    async def post_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Create an Event unless one with its name exists."""
        self._fence()
        try:
            await self.request("POST", f"/api/v1/namespaces/{namespace}/events", body=event)
        except ConflictError:
            return

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        seconds: float = WRITE_SECONDS,
    ) -> Json:
        """Send one request and return the JSON of its response."""
        headers = {"Accept": "application/json", **await self._auth_headers()}
        started = time.monotonic()
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._open().request(
                method,
                self._url(path, query),
                data=to_json(body) if body is not None else None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                content = await response.read()
                self._compare_clocks(response.headers.get("Date"), started)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_response(*rbac_verb_and_resource(method, path), 0)
            raise KubernetesError(0, type(error).__name__, f"{method} {path}: {error}") from error
        self._on_response(*rbac_verb_and_resource(method, path), response.status)
        return _checked(path, response.status, content, _retry_after(response.headers))

    def _compare_clocks(self, date: str | None, started: float) -> None:
        now = time.monotonic()
        if date is not None and now >= self._compare_at and now - started < _CLOCK_LATENCY_SECONDS:
            self._compare_at = now + _CLOCK_SECONDS
            self.clock.observe(date)

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        return URL(self._configuration.host.rstrip("/") + path).with_query(query)

    async def _auth_headers(self) -> dict[str, str]:
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        return {entry["key"]: entry["value"] for entry in settings.values() if entry["in"] == "header"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            rest = RESTClientObject(self._configuration)
            connector = aiohttp.TCPConnector(ssl=rest.ssl_context, limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def is_refusal(error: KubernetesError) -> bool:
    """Return whether an error says that this write is refused, rather than that the API server cannot be used now.

    A policy may refuse with any status from 400 to 499; 500 means that an admission webhook failed.
    """
    if error.status in _NOT_REFUSALS or error.reason == _EXISTS:
        return False
    return error.status == _INTERNAL_ERROR or 400 <= error.status < 500


def is_unanswered(error: KubernetesError) -> bool:
    """Return whether a call took too long, as where an admission webhook hangs; it may still have its effect."""
    return error.status == _GATEWAY_TIMEOUT or (error.status == 0 and error.reason.endswith("TimeoutError"))


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of the Retry-After header, 0 without one. An API server never sends a date there."""
    seconds = headers.get("Retry-After", "")
    return min(_RETRY_AFTER_MAX, float(seconds)) if seconds.isascii() and seconds.isdigit() else 0.0


def _checked(path: str, status: int, content: bytes, retry_after: float) -> Json:
    document = _json(content)
    if document is None:
        shown = content[:200].decode(errors="replace")
        if status < 300:
            # a proxy answered instead of the API server
            raise KubernetesError(0, "NotJson", shown)
        document = {"message": shown}
    if status < 300:
        return document
    message = document.get("message") or ""
    raise _error_type(path, status, document, message)(status, document.get("reason") or "", message, retry_after)


def _error_type(path: str, status: int, document: Json, message: str) -> type[KubernetesError]:
    if _UNDECLARED in message:
        return OutdatedCrdError
    if status == 404 and _is_absent(path, document):
        return NotFoundError
    return ConflictError if status == 409 else KubernetesError


def _is_absent(path: str, document: Json) -> bool:
    """Return whether a response says that the object at this path does not exist.

    A proxy may answer 404 for reasons of its own, and an API server does where it does not serve a kind or a version.
    """
    details = document.get("details")
    if (document.get("kind"), document.get("reason")) != ("Status", "NotFound") or not isinstance(details, dict):
        return False
    group, (resource, *name) = group_and_parts(path)
    return (
        name[:1] == [details.get("name")]
        and details.get("kind", resource) == resource
        and details.get("group", group) == group
    )


def _json(content: bytes) -> Json | None:
    """Return a JSON object, None if it is not one."""
    try:
        document = from_json(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield whole lines of any length; aiohttp's readline has a limit that an object may exceed."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _event(line: bytes) -> tuple[str, str, Json]:
    try:
        event = from_json(line)
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise KubernetesError(item.get("code") or 0, item.get("reason") or "", item.get("message") or "")
        return kind, item["metadata"]["resourceVersion"], item
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KubernetesError(0, "NoEvent", line[:200].decode(errors="replace")) from error
