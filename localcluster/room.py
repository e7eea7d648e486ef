"""The node's room: mount and process namespaces that end with one signal and take everything in them along."""

import contextlib
import os
import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster.daemon import Daemon, start_time
from localcluster.errors import NotReadyError
from localcluster.programs import run, tie

# Folders that containerd and kubelet write to by fixed path: inside the room they are folders of our own.
PRIVATE = (
    "/run/containerd",
    "/run/netns",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
)
READY_LIMIT = 20.0


@dataclass(frozen=True)
class Room:
    """One room.

    Attributes:
        folder: keeps what the private folders hold.
        init: program that is process 1 inside; it must reap orphans.
    """

    folder: Path
    init: Path

    @property
    def holder(self) -> Daemon:
        """The process outside that holds the room open."""
        command = ["unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child"]
        return Daemon("room", [*command, "/bin/sh", "-euc", self._furnish()], self.folder)

    def open(self) -> None:
        """Make the room unless it is open.

        Raises:
            NotReadyError: its mounts could not be made; the log is named.
        """
        if self.process() is not None:
            return
        for number, path in enumerate(PRIVATE):
            (self.folder / "private" / str(number)).mkdir(parents=True, exist_ok=True)
            self._borrow(Path(path))
        self._ready.unlink(missing_ok=True)
        self.holder.start()
        deadline = time.monotonic() + READY_LIMIT
        while not self._ready.exists():
            self.holder.require()
            if time.monotonic() > deadline:
                raise NotReadyError(f"the node's namespaces were not ready within {READY_LIMIT:.0f} s")
            time.sleep(0.02)

    def close(self) -> None:
        """End every process in the room; its mounts go with the last of them. Then give back borrowed folders."""
        process, holder = self.process(), self.holder.pid()
        for pid in filter(None, (process, holder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + READY_LIMIT
        while process and start_time(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.holder.pid_file.unlink(missing_ok=True)
        self._give_back()

    def process(self) -> int | None:
        """Process 1 of the room by its id outside, while it runs."""
        holder = self.holder.pid()
        if holder is None or not self._ready.exists():
            return None
        try:
            children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def daemon(self, name: str, argv: list[str]) -> Daemon:
        """A program that runs inside the room."""
        # nsenter waits outside for what it started inside: neither may outlive the other.
        return Daemon(name, [*self._enter(), *tie(), *argv], self.folder)

    def run(self, argv: list[str | Path], timeout: float) -> str:
        """Run a program inside the room to its end and return what it printed."""
        return run([*self._enter(), *argv], timeout=timeout)

    @property
    def _ready(self) -> Path:
        return self.folder / "room-is-ready"

    @property
    def _borrowed(self) -> Path:
        return self.folder / "borrowed"

    def _enter(self) -> list[str]:
        process = self.process()
        if process is None:
            raise NotReadyError("the node is not running; start it with `python3 -m localcluster up`")
        return ["nsenter", "--target", str(process), "--mount", "--pid", "--"]

    def _furnish(self) -> str:
        binds = [
            f"mount --bind {shlex.quote(str(self.folder / 'private' / str(number)))} {path}"
            for number, path in enumerate(PRIVATE)
        ]
        steps = [
            "mount --make-rshared /",  # within the room only: a pod may share its mounts with others
            "mount -t proc proc /proc",
            *binds,
            f"touch {shlex.quote(str(self._ready))}",
            f"exec {shlex.quote(str(self.init))}",
        ]
        return "\n".join(steps)

    def _borrow(self, path: Path) -> None:
        # A mount needs a folder to sit on; remember the ones made here, outermost last.
        missing = [each for each in (path, *path.parents) if not each.exists()]
        with self._borrowed.open("a") as record:
            record.writelines(f"{each}\n" for each in missing)
        path.mkdir(parents=True, exist_ok=True)

    def _give_back(self) -> None:
        if self._borrowed.exists():
            for line in self._borrowed.read_text().splitlines():
                with contextlib.suppress(OSError):
                    Path(line).rmdir()
