"""A proxy before the real API server that does what networks, load balancers and busy servers do.

It speaks plain HTTP to the operator and TLS, with the operator's own certificate, to the API server. A plan looks at
each request and says what befalls it; watches are relayed line by line, so that single events can get lost.
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
"""The event by which an API server says that a watch's version is too old."""


@dataclass(frozen=True)
class Fault:
    """What befalls one request."""

    status: int = 0
    """Answer this instead of asking the API server."""
    body: bytes | None = None
    """What to answer it with, instead of a Status object."""
    retry_after: int | None = None
    cut: bool = False
    """Close the connection without an answer."""
    reaches: bool = False
    """Whether a request that gets no answer, or a bad one, had its effect all the same."""
    hang: bool = False
    """Never answer: the connection is half open."""
    delay: float = 0
    """Seconds before the request is passed on."""


@dataclass(frozen=True)
class Asked:
    """A request, as plans see it."""

    method: str
    path: str
    watch: bool
    number: int
    """How many came before it."""
    version: str = ""
    """The version that a watch goes on from; empty where it begins with all that is there."""


Plan = Callable[[Asked], Fault | None]
Sieve = Callable[[dict[str, object]], bytes | None]
"""Takes an event of a watch; None lets it pass, bytes are sent instead of it."""


def when(pattern: str, fault: Fault, times: int = 1, skip: int = 0) -> Plan:
    """Let a fault befall a few requests `METHOD /path` that match, after those that are skipped."""
    seen = 0

    def plan(asked: Asked) -> Fault | None:
        nonlocal seen
        if asked.watch or not re.search(pattern, f"{asked.method} {asked.path}"):
            return None
        seen += 1
        return fault if skip < seen <= skip + times else None

    return plan


def clean(_: Asked) -> None:
    """Let everything pass."""


@dataclass
class Proxy:
    """Change `plan` and `sieve` at any time."""

    plane: ControlPlane
    certificate: tuple[Path, Path]
    port: int = field(default_factory=free_port)
    plan: Plan = clean
    sieve: Sieve = lambda _: None
    mute: bool = False
    """Whether nothing comes any more over the watches that are open."""
    deaf: bool = False
    """Whether connections are accepted and then nothing happens on them, also on those that are open."""
    befallen: int = 0
    answers: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of what the API server answered to writes."""
    _count: int = 0

    def kubeconfig(self, folder: Path) -> Path:
        """The operator's way to the API server, through here."""
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
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            started.set()
            await stop.wait()
            await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        version = request.query.get("resourceVersion", "")
        asked = Asked(request.method, request.path, "watch" in request.query, self._count, version)
        self._count += 1
        await self._listening()
        fault = self.plan(asked)
        self.befallen += fault is not None
        body = await request.read()
        if fault is not None:
            answer = await self._befall(fault, request, body)
            if answer is not None:
                return answer
        return await self._pass(request, body)

    async def _listening(self) -> None:
        while self.deaf:  # noqa: ASYNC110 - set by the test's own thread
            await asyncio.sleep(0.05)

    async def _befall(self, fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse | None:
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
            told = {
                "kind": "Status",
                "status": "Failure",
                "code": fault.status,
                "reason": "Injected",
                "message": "injected",
            }
            return web.json_response(told, status=fault.status, headers=headers)
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
