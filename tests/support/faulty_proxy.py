"""A proxy before the real API server that does what networks, load balancers and busy servers do.

It speaks plain HTTP to the operator and TLS, with the operator's own certificate, to the API server. A plan looks at
each request and chooses its fault; watches are relayed line by line, so that single events can be dropped.
"""

import asyncio
import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from localcluster.control_plane import ControlPlane, free_port

_EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
GONE = json.dumps({"type": "ERROR", "object": _EXPIRED}).encode() + b"\n"
"""The event that an API server sends when a watch's resourceVersion has expired."""


@dataclass(frozen=True)
class Fault:
    """A fault of one request."""

    status: int = 0
    """Respond with this status instead of calling the API server."""
    body: bytes | None = None
    """Response body, instead of a Status object."""
    retry_after: int | None = None
    cut: bool = False
    """Close the connection without a response."""
    reaches: bool = False
    """Whether the request reaches the API server despite the fault."""
    hang: bool = False
    """Never respond: the connection is half open."""
    delay: float = 0
    """Seconds before the request is passed on."""


@dataclass(frozen=True)
class ProxiedRequest:
    """A request, as plans see it."""

    method: str
    path: str
    watch: bool
    number: int
    """Number of requests before it."""
    version: str = ""
    """The resourceVersion from which a watch resumes; empty if it starts with all resources."""


Plan = Callable[[ProxiedRequest], Fault | None]
Sieve = Callable[[dict[str, object]], bytes | None]
"""Filters an event of a watch: None passes it on, bytes replace it."""


def when(pattern: str, fault: Fault, times: int = 1, skip: int = 0) -> Plan:
    """Apply a fault to `times` requests `METHOD /path` that match, after `skip` of them."""
    seen = 0

    def plan(proxied: ProxiedRequest) -> Fault | None:
        nonlocal seen
        if proxied.watch or not re.search(pattern, f"{proxied.method} {proxied.path}"):
            return None
        seen += 1
        return fault if skip < seen <= skip + times else None

    return plan


def clean(_: ProxiedRequest) -> None:
    """Pass everything on."""


@dataclass
class Proxy:
    """The proxy; `plan` and `sieve` may change at any time."""

    plane: ControlPlane
    certificate: tuple[Path, Path]
    port: int = field(default_factory=free_port)
    plan: Plan = clean
    sieve: Sieve = lambda _: None
    mute: bool = False
    """Whether open watches receive no more events."""
    deaf: bool = False
    """Whether all connections, new and open, are frozen."""
    faults_applied: int = 0
    answers: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of the API server's responses to writes."""
    _count: int = 0

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig that leads through the proxy."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "operator", "user": {"token": "unused"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
            "current-context": "proxy",
        }
        path = folder / f"proxy-{self.port}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    @contextlib.contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Serve in a thread of its own."""
        started, loop = threading.Event(), asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(self._serve(started, stop)))
        thread.start()
        try:
            assert started.wait(10)
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            loop.close()

    async def _serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        context = ssl.create_default_context(cafile=str(self.plane.identities.authority.certificate))
        context.load_cert_chain(*self.certificate)
        application = web.Application(client_max_size=2**22)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0), read_bufsize=2**22
        ) as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            started.set()
            await stop.wait()
            await site.stop()
            await asyncio.sleep(0.05)  # until connections that were accepted last are known
            assert runner.server is not None
            transports = [connection.transport for connection in runner.server.connections]
            await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # one whose client no longer reads would wait for it with what is still to be sent
        for transport in transports:
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        version = request.query.get("resourceVersion", "")
        proxied = ProxiedRequest(request.method, request.path, "watch" in request.query, self._count, version)
        self._count += 1
        await self._listening()
        fault = self.plan(proxied)
        self.faults_applied += fault is not None
        body = await request.read()
        if fault is not None:
            answer = await self._apply(fault, request, body)
            if answer is not None:
                return answer
        return await self._pass(request, body)

    async def _listening(self) -> None:
        while self.deaf:  # noqa: ASYNC110 - set by the test's own thread
            await asyncio.sleep(0.05)

    async def _apply(self, fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse | None:
        await asyncio.sleep(fault.delay)
        if not (fault.status or fault.cut or fault.hang):
            return None
        if fault.reaches:
            await self._pass(request, body)
        if fault.hang:
            await asyncio.sleep(3600)
        if fault.body is not None:
            return web.Response(status=fault.status, body=fault.body, content_type="text/html")
        if fault.status:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            status = {
                "kind": "Status",
                "status": "Failure",
                "code": fault.status,
                "reason": "Injected",
                "message": "injected",
            }
            return web.json_response(status, status=fault.status, headers=headers)
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    async def _pass(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() in {"content-type", "accept"}}
        headers["Accept-Encoding"] = "identity"
        url = self.plane.server + request.path_qs
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, data=body or None, headers=headers, timeout=timeout, skip_auto_headers=["Content-Type"]
        ) as answer:
            if request.method != "GET":
                self.answers.append((request.method, request.path, answer.status))
            if "watch" not in request.query or answer.status != 200:
                content = await answer.read()
                await self._listening()
                return web.Response(body=content, status=answer.status, headers={"Content-Type": "application/json"})
            return await self._relay(request, answer)

    async def _relay(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        relayed = web.StreamResponse(headers={"Content-Type": "application/json"})
        await relayed.prepare(request)
        muted = self.mute
        async for line in answer.content:
            await self._listening()
            while self.mute and not muted:  # noqa: ASYNC110 - set by the test's own thread
                await asyncio.sleep(0.05)
            instead = self.sieve(json.loads(line))
            if instead is None:
                await relayed.write(line)
            elif instead:
                await relayed.write(instead)
                break
        return relayed
