"""Programs that outlive the command that starts them: found by pid file or by a variable in their environment."""

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

FOLDER = "STEMYARD_CLUSTER_FOLDER"
# The servers of a cluster connect to each other directly, even if the host uses a proxy.
_NO_PROXY = {
    name: ",".join(
        filter(None, [os.environ.get(name), "localhost,127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"])
    )
    for name in ("NO_PROXY", "no_proxy")
}


@dataclass(frozen=True)
class Daemon:
    """One long-running program.

    Attributes:
        name: base name of its pid file and its log.
        argv: program and arguments.
        folder: working directory; pid file and log are below it.
    """

    name: str
    argv: Sequence[str]
    folder: Path

    @property
    def log(self) -> Path:
        """File that receives its output."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """File with its process id and start time."""
        return self.folder / "pids" / self.name

    def start(self, env: Mapping[str, str] | None = None) -> int:
        """Start it, detached from this terminal, unless it is running; return its process id."""
        running = self.pid()
        if running is not None:
            return running
        for place in (self.log.parent, self.pid_file.parent):
            place.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "PATH": search_path(),
            **_NO_PROXY,
            **(env or {}),
            FOLDER: str(self.folder),
        }
        with self.log.open("ab") as sink:
            process = subprocess.Popen(
                list(self.argv), cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        # It outlives this process; without a return code Popen would warn that it is still running.
        process.returncode = 0
        self.pid_file.write_text(f"{process.pid} {start_time(process.pid)}\n")
        return process.pid

    def pid(self) -> int | None:
        """Return its process id, or None if it is not running or its process id now belongs to another program."""
        try:
            number, started = self.pid_file.read_text().split()
            pid = int(number)
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def check_running(self) -> None:
        """Raise NotReadyError with the end of its log if it is not running."""
        if self.pid() is None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-8:]) if self.log.exists() else ""
            raise NotReadyError(f"{self.name} ended right after its start (log: {self.log})\n{tail}")

    def stop(self, grace: float = 10.0) -> None:
        """Send SIGTERM, and SIGKILL after `grace` seconds."""
        pid = self.pid()
        if pid is not None:
            terminate([pid], grace)
        self.pid_file.unlink(missing_ok=True)


def start_time(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot (field 22 of proc(5) stat), or None if it is dead."""
    _reap(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "X" or (fields[0] == "Z" and not _has_live_threads(pid)) else fields[19]


def processes_of(folder: Path) -> list[int]:
    """Return the processes started for a cluster folder or one below it, with or without a pid file."""
    exact, below = f"{FOLDER}={folder}".encode(), f"{FOLDER}={folder}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0")
                if any(item == exact or item.startswith(below) for item in variables):
                    found.append(int(entry.name))
    return found


def terminate(pids: Iterable[int], grace: float) -> None:
    """Send SIGTERM, wait up to `grace` seconds, then send SIGKILL to the rest and wait up to 10 seconds."""
    left = {pid: started for pid in pids if (started := start_time(pid))}
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            left = {pid: started for pid, started in left.items() if start_time(pid) == started}
            time.sleep(0.02)


def _has_live_threads(pid: int) -> bool:
    # The main thread of a killed process may be a zombie while other threads still hold its sockets.
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) > 1
    except OSError:
        return False


def _reap(pid: int) -> None:
    # A child of this process stays a zombie until it is waited for.
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
