"""The node's mount and PID namespaces: killing their init process ends every process in them and drops their mounts."""

import contextlib
import os
import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster.daemon import Daemon, start_time
from localcluster.errors import NotReadyError
from localcluster.programs import die_with_parent, run

# Directories that containerd and kubelet write to by fixed path; bind mounts replace them inside the namespaces.
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
class Namespaces:
    """The namespaces of one node.

    Attributes:
        folder: holds the contents of the private directories, the pid files and the logs.
        init: program that is PID 1 inside; it must reap orphans.
    """

    folder: Path
    init: Path

    @property
    def holder(self) -> Daemon:
        """The process outside that keeps the namespaces alive."""
        command = ["unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child"]
        return Daemon("namespaces", [*command, "/bin/sh", "-euc", self._setup_script()], self.folder)

    def open(self) -> None:
        """Create the namespaces unless they exist.

        Raises:
            NotReadyError: the mounts failed; the message names the log.
        """
        if self.process() is not None:
            return
        for number, path in enumerate(PRIVATE):
            (self.folder / "private" / str(number)).mkdir(parents=True, exist_ok=True)
            self._make_mount_point(Path(path))
        self._ready.unlink(missing_ok=True)
        self.holder.start()
        deadline = time.monotonic() + READY_LIMIT
        while not self._ready.exists():
            self.holder.check_running()
            if time.monotonic() > deadline:
                raise NotReadyError(f"the node's namespaces were not ready within {READY_LIMIT:.0f} s")
            time.sleep(0.02)

    def close(self) -> None:
        """Kill every process in the namespaces, which drops their mounts, and remove the created mount points."""
        process, holder = self.process(), self.holder.pid()
        for pid in filter(None, (process, holder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + READY_LIMIT
        while process and start_time(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.holder.pid_file.unlink(missing_ok=True)
        self._remove_mount_points()

    def process(self) -> int | None:
        """The host's PID of the init process, or None if it is not running."""
        holder = self.holder.pid()
        if holder is None or not self._ready.exists():
            return None
        try:
            children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def daemon(self, name: str, argv: list[str]) -> Daemon:
        """Return a program that runs inside the namespaces."""
        # nsenter waits outside for the program inside; neither may outlive the other.
        return Daemon(name, [*self._enter(), *die_with_parent(), *argv], self.folder)

    def run(self, argv: list[str | Path], timeout: float) -> str:
        """Run a program inside the namespaces and return its output."""
        return run([*self._enter(), *argv], timeout=timeout)

    @property
    def _ready(self) -> Path:
        return self.folder / "namespaces-ready"

    @property
    def _mount_points(self) -> Path:
        return self.folder / "created-mount-points"

    def _enter(self) -> list[str]:
        process = self.process()
        if process is None:
            raise NotReadyError("the node is not running; start it with `python3 -m localcluster up`")
        return ["nsenter", "--target", str(process), "--mount", "--pid", "--"]

    def _setup_script(self) -> str:
        binds = [
            f"mount --bind {shlex.quote(str(self.folder / 'private' / str(number)))} {path}"
            for number, path in enumerate(PRIVATE)
        ]
        steps = [
            "mount --make-rshared /",  # inside only: a pod may share its mounts with others
            "mount -t proc proc /proc",
            *binds,
            f"touch {shlex.quote(str(self._ready))}",
            f"exec {shlex.quote(str(self.init))}",
        ]
        return "\n".join(steps)

    def _make_mount_point(self, path: Path) -> None:
        # Record the directories created here, outermost last, so that `close` can remove them.
        missing = [each for each in (path, *path.parents) if not each.exists()]
        with self._mount_points.open("a") as record:
            record.writelines(f"{each}\n" for each in missing)
        path.mkdir(parents=True, exist_ok=True)

    def _remove_mount_points(self) -> None:
        if self._mount_points.exists():
            for line in self._mount_points.read_text().splitlines():
                with contextlib.suppress(OSError):
                    Path(line).rmdir()
