"""The operator as a process that exits at a chosen awaited call, forked from a process that has imported it already.

A point is one call to the API server, the object store, Redis or a webhook's consumer: just before it is made, or just
after its response and before that is used. It is named by what is called and how often that was called before, so that
it is the same in every process: `patch separationjobs/song/status #2 after`.

Run as a program it is the process to fork from: each line of its input starts one child, whose process id it prints
and, when the child has ended, its exit code.
"""

import asyncio
import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from stemyard_operator import logs, manager
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.clients.s3_http import BucketHttpClient
from stemyard_operator.clients.webhook_http import WebhookHttpClient
from stemyard_operator.errors import OperatorError

KILLED = 137


class Points:
    """Records every point that is reached, and ends the process at the chosen one."""

    def __init__(self, trace: Path, chosen: str) -> None:
        self._trace = trace.open("a")
        self._chosen = chosen
        self._counts: Counter[str] = Counter()

    def install(self) -> None:
        self._around(KubernetesClient, "request", lambda _, method, path, **__: f"{method.lower()} {path}")
        self._around(BucketHttpClient, "_call", _store_call)
        self._around(RedisClient, "_pipeline", lambda _, commands, __: f"redis {_script_name(commands[0][0])}")
        self._around(RedisClient, "_script", lambda _, script, *__: f"redis {_script_name(script)}")
        self._around(RedisClient, "progress", lambda _, track: "redis progress")
        self._around(RedisClient, "tracks", lambda _: "redis tracks")
        self._around(WebhookHttpClient, "post", lambda _, url, *__: f"post {url.rpartition('/')[2]}")

    def _around(self, owner: type, name: str, label: Callable[..., str]) -> None:
        original = getattr(owner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            name = _plain(label(*args, **kwargs))
            self._counts[name] += 1
            point = f"{name} #{self._counts[name]}"
            self._reach(f"{point} before")
            try:
                return await original(*args, **kwargs)
            finally:
                if not isinstance(sys.exception(), asyncio.CancelledError):
                    self._reach(f"{point} after")

        setattr(owner, name, call)

    def _reach(self, point: str) -> None:
        self._trace.write(point + "\n")
        self._trace.flush()
        if point == self._chosen:
            os._exit(KILLED)


def _store_call(_: BucketHttpClient, method: str, key: str, query: Mapping[str, str] | None = None, **__: Any) -> str:
    return f"{method.lower()} object {key}" if key else f"list objects {(query or {})['prefix']}"


def _script_name(script: str) -> str:
    return "progress" if "old.uid == new.uid" in script else "put" if "ZADD" in script else "drop"


def _plain(label: str) -> str:
    """Return a label without what differs from process to process."""
    label = re.sub(r"/namespaces/[^/]+", "", label)
    label = re.sub(r"^(\w+) /apis?/([^/]+/)?v1(alpha1)?/", r"\1 ", label)
    label = re.sub(r"-[0-9a-f]{8}-([fs]\d+-\d+)", r"-\1", label)
    return re.sub(r"[0-9a-f]{32}", "TOKEN", re.sub(r"op-[0-9a-f]+\.", "", label))


@dataclass
class OperatorProcess:
    """One process of the operator."""

    pid: int
    fork_server: "ForkServer"
    code: int | None = None

    def ended(self) -> bool:
        if self.code is None:
            line = self.fork_server.read_line()
            self.code = int(line) if line else None
        return self.code is not None

    def kill(self) -> None:
        if not self.ended():
            os.kill(self.pid, 9)
            while not self.ended():
                pass


class ForkServer:
    """Forks operator processes; one child at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ)

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator["ForkServer"]:
        command = [sys.executable, "-m", "tests.support.crash_points"]
        root = Path(__file__).parents[2]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, bufsize=1, cwd=root) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()

    def read_line(self, seconds: float = 0.0) -> str:
        """The next line of its output, or "" if there is none in time."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip() if self._selector.select(seconds) else ""

    def start(self, environment: Mapping[str, str], folder: Path, point: str = "") -> OperatorProcess:
        """Start a process that ends at a point, or runs on if that is empty."""
        assert self._process.stdin is not None
        child = {"environment": dict(environment), "folder": str(folder), "point": point}
        self._process.stdin.write(json.dumps(child) + "\n")
        self._process.stdin.flush()
        return OperatorProcess(int(self.read_line(30)), self)


def _run_operator(environment: dict[str, str], folder: str, point: str) -> None:
    """Be the operator."""
    os.environ.update(environment)
    log = os.open(f"{folder}/operator.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    logs.configure()
    Points(Path(folder) / "trace", point).install()
    with contextlib.suppress(asyncio.CancelledError, OperatorError, ExceptionGroup):
        uvloop.run(manager.run())
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run_operator(**json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
