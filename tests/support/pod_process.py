"""The process of a separator pod, run for a Job of the real operator: its environment is the manifest's.

It may be killed at a chosen awaited call: one to the desk or the store, just before it is made or just after its
response. A point is named by what is called and how often that was called before: `post lease #2 after`.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stemyard_contract.handover import DESK_PROGRESS_PATH
from tests.support.spleeter_model import model_folder

KILLED = 137


class PodProcess:
    """One pod's process; its output is in `log`, what it reached in `trace`.

    Args:
        job: the manifest.
        pod_uid: uid of the pod.
        token: what the kubelet would project.
        folder: where its own folder is made.
        point: where it is killed, "" for nowhere.
        program: module that is run in place of this one.
        environment: further variables.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        pod_uid: str,
        token: str,
        folder: Path,
        point: str = "",
        program: str = "",
        **environment: str,
    ) -> None:
        self.folder = folder / pod_uid
        (self.folder / "work").mkdir(parents=True)
        (self.folder / "pod-token").write_text(token)
        self.log, self.trace = self.folder / "log", self.folder / "trace"
        variables = {name: value for name, value in os.environ.items() if not name.startswith("STEMYARD_")}
        variables |= {each["name"]: each["value"] for each in _container(job)["env"] if "value" in each}
        variables |= {
            "STEMYARD_POD_UID": pod_uid,
            "STEMYARD_TOKEN_PATH": str(self.folder / "pod-token"),
            "STEMYARD_TERMINATION_PATH": str(self.folder / "termination-log"),
            "STEMYARD_WORK_DIR": str(self.folder / "work"),
            "STEMYARD_MODEL_DIR": str(model_folder()),
            "STEMYARD_THREADS": "1",
            "HOME": str(self.folder),
            **environment,
        }
        command = [sys.executable, "-m", program or "tests.support.pod_process", str(self.trace), point]
        root = Path(__file__).parents[2]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=root, env=variables, stdout=log, stderr=log)

    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def exit_code(self) -> int:
        return int(self.process.returncode)

    @property
    def message(self) -> str:
        """Its termination message."""
        path = self.folder / "termination-log"
        return path.read_text() if path.exists() else ""

    def kill(self) -> None:
        if not self.ended():
            self.process.kill()
            self.process.wait()


def _container(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(job["spec"]["template"]["spec"]["containers"][0])


class Points:
    """Records every point that is reached, and ends the process at the chosen one."""

    def __init__(self, trace: Path, chosen: str) -> None:
        self._trace = trace.open("a")
        self._chosen = chosen
        self._counts: Counter[str] = Counter()

    def install(self) -> None:
        from stemyard_separator.http import HttpClient

        self._around(HttpClient, "post_json", lambda url: f"post {url.rpartition('/')[2]}")
        self._around(HttpClient, "put_file", lambda url: f"put {_file(url)}")
        self._around(HttpClient, "stream", lambda url: f"get {_file(url)}")

    def _around(self, owner: type, name: str, label: Callable[[str], str]) -> None:
        original = getattr(owner, name)

        def call(client: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            if url.endswith(DESK_PROGRESS_PATH):
                return original(client, url, *args, **kwargs)
            self._counts[label(url)] += 1
            point = f"{label(url)} #{self._counts[label(url)]}"
            self._reach(f"{point} before")
            try:
                return original(client, url, *args, **kwargs)
            finally:
                self._reach(f"{point} after")

        setattr(owner, name, call)

    def _reach(self, point: str) -> None:
        self._trace.write(point + "\n")
        self._trace.flush()
        if point == self._chosen:
            os._exit(KILLED)


def _file(url: str) -> str:
    return re.sub(r".*/", "", url.partition("?")[0])


def main() -> None:
    from stemyard_separator.__main__ import main as run

    trace, point = sys.argv[1:]
    sys.argv = sys.argv[:1]
    Points(Path(trace), point).install()
    sys.exit(run())


if __name__ == "__main__":
    main()
