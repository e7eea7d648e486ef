"""Runs the separator like its pod: a process with an Assignment in its environment."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stemyard_contract.handover import Assignment, Limits, MarkReference, Outcome, SourceMark, WorkStage, parse_outcome
from stemyard_contract.leasing import WorkerAssignment
from stemyard_contract.separationjob import Output, Source, Stem
from tests.support.desk_double import PREFIX, TOKEN, DeskDouble
from tests.support.spleeter_model import model_folder

UID = "5a0e7a53-92b3-4a2c-8a3d-1f7f7f6f0a01"
POD_UID = "0c7c8c1e-6f40-4df7-8ab3-d4b3b2a40b02"
MEBIBYTE = 1 << 20
TESTED_OVERLAY = os.environ.get("STEMYARD_TESTED_OVERLAY", "")
"""A folder with a yt-dlp that is tested in place of the installed one."""
# for the longest song of a bench; tests have their own, shorter timeouts
_TIMEOUT_SECONDS = 3600
# a small intermediate process: the kernel counts a process's memory before exec as its peak
_MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
sys.exit(status)
"""
# if these are installed, httpx imports its command line (0.25 s); the image has none of them
_STAGE = """
import runpy, sys
for name in ("click", "pygments", "rich"):
    sys.modules[name] = None
runpy.run_module("stemyard_separator", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Ended:
    """A finished process."""

    exit_code: int
    outcome: Outcome | None
    output: str
    peak_mebibytes: float = 0.0

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines()]


def assignment(
    desk: DeskDouble,
    source: Source | None = None,
    *,
    max_bytes: int = 50 * MEBIBYTE,
    max_seconds: float = 3600,
    youtube_enabled: bool = True,
    model: str = "spleeter-2stems",
    stems: tuple[Stem, ...] = (Stem.VOCALS, Stem.INSTRUMENTAL),
    bitrate: int = 320,
    output: Output | None = None,
    deadline_seconds: int = 900,
) -> Assignment:
    """Return an Assignment to fetch `source`, or to separate the audio in the desk's store if it is None."""
    any_source = source or Source(url="http://fetched.invalid/")
    fetched = MarkReference(key=f"{PREFIX}source.json", sha256=desk.sha256("source.json")) if source is None else None
    return Assignment(
        stage=WorkStage.FETCH if source is not None else WorkStage.SEPARATE,
        uid=UID,
        name="sep-test",
        namespace="stemyard",
        track_id="8b7bdb39-6a52-5a02-b5b7-000000000001",
        run=1,
        source=any_source,
        model=model,
        stems=list(stems),
        output=output or Output(bitrate=bitrate),
        limits=Limits(max_bytes=max_bytes, max_duration_seconds=max_seconds),
        deadline_seconds=deadline_seconds,
        desk_url=desk.url,
        youtube_enabled=youtube_enabled,
        fetched=fetched,
    )


def start(
    assignment: Assignment | WorkerAssignment | None, folder: Path, *prefix: str, **environment: str
) -> subprocess.Popen[str]:
    """Start a separator whose files are in `folder`; `prefix` is a wrapper command, `token` the token for the desk."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(environment.pop("token", TOKEN))
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STEMYARD_")},
        "STEMYARD_ASSIGNMENT": assignment.dump() if isinstance(assignment, Assignment) else "",
        "STEMYARD_WORKER": assignment.dump() if isinstance(assignment, WorkerAssignment) else "",
        "STEMYARD_POD_UID": POD_UID,
        "STEMYARD_TOKEN_PATH": str(folder / "token"),
        "STEMYARD_TERMINATION_PATH": str(folder / "termination-log"),
        "STEMYARD_WORK_DIR": str(folder / "work"),
        "STEMYARD_MODEL_DIR": environment.get("STEMYARD_MODEL_DIR") or str(model_folder()),
        "STEMYARD_FETCH_ALLOWED_CIDRS": "127.0.0.1/32",
        "YTDLP_NO_PLUGINS": "1",
        **({"STEMYARD_YOUTUBE_OVERLAY": TESTED_OVERLAY} if TESTED_OVERLAY else {}),
        **environment,
    }
    command = [*prefix, sys.executable, "-c", _STAGE]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(
    assignment: Assignment | WorkerAssignment | None, folder: Path, measured: bool = False, /, **environment: str
) -> Ended:
    """Run a separator to its end; `measured` also records its peak resident memory."""
    peak = folder / "peak"
    prefix = (sys.executable, "-c", _MEASURE, str(peak)) if measured else ()
    process = start(assignment, folder, *prefix, **environment)
    output, _ = process.communicate(timeout=_TIMEOUT_SECONDS)
    return replace(ended(process, output, folder), peak_mebibytes=float(peak.read_text()) if measured else 0.0)


def ended(process: "subprocess.Popen[str]", output: str, folder: Path) -> Ended:
    """Return exit code, Outcome and output of a finished process."""
    path = folder / "termination-log"
    return Ended(process.returncode, parse_outcome(path.read_text()) if path.exists() else None, output)


def fetched_mark(desk: DeskDouble) -> SourceMark:
    return SourceMark.model_validate_json(desk.files["source.json"])
