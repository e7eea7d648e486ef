"""The operator's way to the API server: raw JSON, one timeout per call; the only importer of the Kubernetes client."""

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

from stemyard_contract.separationjob import API_VERSION, FIELD_MANAGER, GROUP, KIND, PLURAL, VERSION
from stemyard_operator.clients.server_clock import ServerClock
from stemyard_operator.errors import ConfigurationError, ConflictError, KubernetesError, NotFoundError, OutdatedCrdError

WRITE_SECONDS: Final = 3.0
"""A write takes no longer than this, so that it cannot outlive the lease it was begun under."""
_READ_SECONDS: Final = 10.0
_LIST_SECONDS: Final = 30.0
_READ_ATTEMPTS: Final = 4
_RETRY_BASE: Final = 0.2
_RETRY_MAX: Final = 5.0
_PASSING: Final = frozenset({0, 429, 500, 502, 503, 504})
PAGE: Final = 200
"""Objects of one answer to a list: as many as these are there whole at a time."""
_CONNECTIONS: Final = 32
_WATCH_SECONDS: Final = 300
_WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=150.0)
"""An API server sends a bookmark every minute or two: where none has come, nobody is at the other end."""
_LISTEN_SECONDS: Final = 5.0
_PROMPT_SECONDS: Final = 1.0
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_APPLY: Final = "application/apply-patch+yaml"
_UNDECLARED: Final = "field not declared in schema"
"""What an API server says, with status 500, of a field that is applied and that the definition lacks."""

Json = dict[str, Any]


def separations_path(namespace: str, name: str = "", part: str = "") -> str:
    """Return the path of SeparationJobs, of one, or of a subresource of one."""
    return _path(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}", name, part)


def jobs_path(namespace: str, name: str = "") -> str:
    """Return the path of Jobs, or of one."""
    return _path(f"/apis/batch/v1/namespaces/{namespace}/jobs", name)


def pods_path(namespace: str, name: str = "") -> str:
    """Return the path of pods, or of one."""
    return _path(f"/api/v1/namespaces/{namespace}/pods", name)


def workloads_path(version: str, namespace: str) -> str:
    """Return the path of Kueue's Workloads."""
    return f"/apis/kueue.x-k8s.io/{version}/namespaces/{namespace}/workloads"


def leases_path(namespace: str, name: str = "") -> str:
    """Return the path of Leases, or of one."""
    return _path(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", name)


def _path(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def right_of(method: str, path: str) -> tuple[str, str]:
    """Return verb and resource of a call in the words of a Role: `("patch", "separationjobs/status")`."""
    parts = path.strip("/").split("/")
    parts = parts[3 if parts[0] == "apis" else 2 :]
    if parts[0] == "namespaces":
        parts = parts[2:]
    named = len(parts) > 1
    verb = ("get" if named else "list") if method == "GET" else _VERBS[method]
    return verb, "/".join([parts[0], *parts[2:]])


class KubernetesClient:
    """A connection to the API server.

    Calls raise ClusterError (NotFoundError for 404, ConflictError for 409) when the answer is not success.
    Reads are repeated a few times with jitter; writes never: the caller decides again from what then holds.
    `fence` is called before every write made as the leader and raises where the lease would not outlive it.
    `on_response` is called with verb and resource of every call, as a Role names them, and the status (0: no answer,
    or a watch that broke off).
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
        self._listen_at = 0.0

    @classmethod
    async def connect(
        cls,
        *,
        fence: Callable[[], None] = lambda: None,
        on_response: Callable[[str, str, int], None] = lambda _verb, _resource, _status: None,
    ) -> Self:
        """Return a connection as `KUBECONFIG` or the pod's service account say.

        Raises:
            ConfigurationError: there is neither.
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
            raise ConfigurationError(f"no way to the API server: {error}; set KUBECONFIG or run in a pod") from error
        return cls(configuration, fence=fence, on_response=on_response)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def read(self, path: str, query: Mapping[str, str] | None = None, seconds: float = _READ_SECONDS) -> Json:
        """Return what is at a path; passing trouble is sat out, for a bounded time."""
        for attempt in range(_READ_ATTEMPTS - 1):
            try:
                return await self.request("GET", path, query=query, seconds=seconds)
            except KubernetesError as error:
                if error.status not in _PASSING:
                    raise
            await asyncio.sleep(random.uniform(0, min(_RETRY_MAX, _RETRY_BASE * 2**attempt)))
        return await self.request("GET", path, query=query, seconds=seconds)

    async def pages(self, path: str, selector: str = "") -> AsyncIterator[list[Json]]:
        """Yield all objects of a collection, page by page, all as of one moment.

        An expired continuation (410) is raised: the caller lists anew at its next resync.
        """
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self.read(path, query, _LIST_SECONDS)
            yield page.get("items") or []
            more = page["metadata"].get("continue")
            if not more:
                return
            query = {**query, "continue": more}

    async def watch(self, path: str, selector: str, version: str) -> AsyncGenerator[tuple[str, str, Json]]:
        """Yield kind, version and object of every event since a version; without one, all that is there comes first.

        It ends when the API server ends it, after some minutes. An event BOOKMARK tells no more than a newer version.

        Raises:
            ClusterError: there is no answer, or no sign of life any more; status 410 where the version is too old.
        """
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        query |= {"labelSelector": selector} | ({"resourceVersion": version} if version else {})
        headers = {"Accept": "application/json", **await self._authorisation()}
        resource = right_of("GET", path)[1]
        try:
            async with self._open().get(self._url(path, query), headers=headers, timeout=_WATCH_TIMEOUT) as answer:
                self._on_response("watch", resource, answer.status)
                if answer.status >= 300:
                    _checked(answer.status, await answer.read())
                async for line in _lines(answer.content.iter_any()):
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_response("watch", resource, 0)
            raise KubernetesError(0, type(error).__name__, f"watch {path}: {error}") from error

    async def apply_status(self, namespace: str, name: str, resource_version: int, status: Json) -> Json:
        """Make this the whole status, provided the object still has this version; return the object."""
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
        """Create a Job; return it."""
        self._fence()
        return await self.request("POST", jobs_path(namespace), body=manifest)

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete this very Job after its pods; without a policy they would run on and publish."""
        self._fence()
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        await self.request("DELETE", jobs_path(namespace, name), body=options)

    async def delete_separation(self, namespace: str, name: str, uid: str, resource_version: int) -> None:
        """Delete this very SeparationJob, provided it has not changed."""
        self._fence()
        options = {"preconditions": {"uid": uid, "resourceVersion": str(resource_version)}}
        await self.request("DELETE", separations_path(namespace, name), body=options)

    async def post_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Post an Event; one with this name that is already there is as good."""
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
        """Make one call and return the JSON of its answer."""
        headers = {"Accept": "application/json", **await self._authorisation()}
        begun = time.monotonic()
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._open().request(
                method,
                self._url(path, query),
                data=to_json(body) if body is not None else None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as answer:
                content = await answer.read()
                self._listen(answer.headers.get("Date"), begun)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_response(*right_of(method, path), 0)
            raise KubernetesError(0, type(error).__name__, f"{method} {path}: {error}") from error
        self._on_response(*right_of(method, path), answer.status)
        return _checked(answer.status, content)

    def _listen(self, date: str | None, begun: float) -> None:
        """Compare clocks now and then, by an answer that took no time worth speaking of."""
        now = time.monotonic()
        if date is not None and now >= self._listen_at and now - begun < _PROMPT_SECONDS:
            self._listen_at = now + _LISTEN_SECONDS
            self.clock.heard(date)

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        return URL(self._configuration.host.rstrip("/") + path).with_query(query)

    async def _authorisation(self) -> dict[str, str]:
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        return {entry["key"]: entry["value"] for entry in settings.values() if entry["in"] == "header"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            rest = RESTClientObject(self._configuration)
            connector = aiohttp.TCPConnector(ssl=rest.ssl_context, limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _checked(status: int, content: bytes) -> Json:
    try:
        answer: Json = from_json(content)
    except ValueError as error:
        if status < 300:
            # whatever is between us and the API server answered in its stead
            raise KubernetesError(0, "NotJson", content[:200].decode(errors="replace")) from error
        answer = {"message": content[:200].decode(errors="replace")}
    if status < 300:
        return answer
    message = answer.get("message") or ""
    kind = {404: NotFoundError, 409: ConflictError}.get(status, KubernetesError)
    raise (OutdatedCrdError if _UNDECLARED in message else kind)(status, answer.get("reason") or "", message)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield whole lines, of whatever length; aiohttp's own have a limit that an object may exceed."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _event(line: bytes) -> tuple[str, str, Json]:
    try:
        event = from_json(line)
        kind, told = event["type"], event["object"]
        if kind == "ERROR":
            raise KubernetesError(told.get("code") or 0, told.get("reason") or "", told.get("message") or "")
        return kind, told["metadata"]["resourceVersion"], told
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KubernetesError(0, "NoEvent", line[:200].decode(errors="replace")) from error
