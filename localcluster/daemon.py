"""Programs that outlive the command that starts them: found again by pid file or by a mark in their environment."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import NotReadyError
from localcluster.programs import search_path

MARK = "STEMYARD_CLUSTER_FOLDER"
# Servers of one cluster talk to each other directly, whatever proxy the machine uses for the world.
_DIRECT = {
    name: ",".join(
        filter(None, [os.environ.get(name), "localhost,127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"])
    )
    for name in ("NO_PROXY", "no_proxy")
}


@dataclass(frozen=True)
class Daemon:
    """One long-running program.

    Attributes:
        name: names its pid file and its log.
        argv: program and arguments.
        folder: working folder; pid file and log lie below it.
    """

    name: str
    argv: Sequence[str]
    folder: Path

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Where its process id and start time are kept."""
        return self.folder / "pids" / self.name

    def start(self, env: Mapping[str, str] | None = None) -> int:
        """Start it, detached from this terminal, unless it runs already; return its process id."""
        running = self.pid()
        if running is not None:
            return running
        for place in (self.log.parent, self.pid_file.parent):
            place.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PATH": search_path(), **_DIRECT, **(env or {}), MARK: str(self.folder)}
        with self.log.open("ab") as sink:
            process = subprocess.Popen(
                list(self.argv), cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        # It is meant to outlive us: without a return code Popen would warn that it still runs when it is forgotten.
        process.returncode = 0
        self.pid_file.write_text(f"{process.pid} {start_time(process.pid)}\n")
        return process.pid

    def pid(self) -> int | None:
        """Its process id while it runs; a stale pid file, or a pid now of another program, counts as not running."""
        try:
            number, begun = self.pid_file.read_text().split()
            pid = int(number)
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == begun else None

    def require(self) -> None:
        """Raise NotReadyError with the end of its log when it has died."""
        if self.pid() is None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-8:]) if self.log.exists() else ""
            raise NotReadyError(f"{self.name} ended right after its start (log: {self.log})\n{tail}")

    def stop(self, grace: float = 10.0) -> None:
        """Ask it to end, and kill it when it has not within `grace` seconds."""
        pid = self.pid()
        if pid is not None:
            end([pid], grace)
        self.pid_file.unlink(missing_ok=True)


def start_time(pid: int) -> str | None:
    """Start time of a live process in clock ticks since boot (field 22 of proc(5) stat), None for a dead one."""
    _reap(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "X" or (fields[0] == "Z" and not _has_live_threads(pid)) else fields[19]


def marked(folder: Path) -> list[int]:
    """Processes that carry the mark of a cluster folder (or of one below it), known to a pid file or not."""
    exact, below = f"{MARK}={folder}".encode(), f"{MARK}={folder}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0")
                if any(item == exact or item.startswith(below) for item in variables):
                    found.append(int(entry.name))
    return found


def end(pids: Iterable[int], grace: float) -> None:
    """Send SIGTERM, wait up to `grace` seconds, then SIGKILL what is left and wait for it to be gone."""
    left = {pid: begun for pid in pids if (begun := start_time(pid))}
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            left = {pid: begun for pid, begun in left.items() if start_time(pid) == begun}
            time.sleep(0.02)


def _has_live_threads(pid: int) -> bool:
    # The first thread of a killed process may be a zombie while others still hold its sockets.
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) > 1
    except OSError:
        return False


def _reap(pid: int) -> None:
    # A child of this very process stays a zombie until it is waited for.
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
