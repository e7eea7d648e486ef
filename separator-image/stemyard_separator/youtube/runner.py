"""Runs yt-dlp in a process without this one's secrets, within a deadline, and ends it with this one."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.logs import log_failure
from stemyard_separator.process import end_group, killed_on_exit
from stemyard_separator.youtube.messages import (
    MESSAGES,
    Downloaded,
    DownloadFailed,
    DownloadRequest,
    Step,
    UnsupportedLink,
)

_NOTES_LIMIT: Final = 2000
_WITHHELD: Final = ("STEMYARD_ASSIGNMENT", "STEMYARD_POD_UID", "STEMYARD_TOKEN_PATH", "STEMYARD_YOUTUBE_PROXY")
_NO_PLUGINS: Final = "YTDLP_NO_PLUGINS"
Watch = Callable[[str, float], None]


def run_downloader(request: DownloadRequest, deadline_seconds: float, watch: Watch) -> Downloaded | UnsupportedLink:
    """Fetch a recording; return where it is and what is known of it, or that its link is for nobody here.

    Raises:
        SourceError: with the code that yt-dlp's failure means; SOURCE_NETWORK past the deadline.
    """
    command = [sys.executable, "-m", "stemyard_separator.youtube"]
    notes = Path(request.folder, "downloader.log")
    with notes.open("w") as errors:
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(request),
            start_new_session=True,
            text=True,
        )
    with killed_on_exit(process):
        timer = threading.Timer(deadline_seconds, end_group, (process.pid,))
        timer.start()
        try:
            done = _answer(process, request, watch)
            if done is None:
                raise _silent_end(process.wait(), notes)
            return done
        finally:
            timer.cancel()


def _answer(
    process: subprocess.Popen[str], request: DownloadRequest, watch: Watch
) -> Downloaded | UnsupportedLink | None:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    process.stdin.write(request.model_dump_json())
    process.stdin.close()
    for text in process.stdout:
        match _parsed(text):
            case Step(step=step, fraction=fraction):
                watch(step, fraction)
            case DownloadFailed(code=code, detail=detail):
                raise SourceError(code, detail)
            case Downloaded() | UnsupportedLink() as done:
                return done
    return None


def _parsed(text: str) -> Step | Downloaded | UnsupportedLink | DownloadFailed:
    try:
        return MESSAGES.validate_json(text)
    except ValidationError:
        raise SourceError(FailureCode.EXTRACTOR_BROKEN, "The downloader gave no readable answer.") from None


def _silent_end(status: int, notes: Path) -> SourceError:
    log_failure("downloader ended", status=status, errors=notes.read_text(errors="replace")[-_NOTES_LIMIT:])
    if status == -signal.SIGKILL:
        return SourceError(FailureCode.SOURCE_NETWORK, "The download took too long and was stopped.")
    return SourceError(FailureCode.EXTRACTOR_BROKEN, f"The downloader ended with status {status}.")


def _environment(request: DownloadRequest) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
    if request.po_token_url is not None:
        kept[_NO_PLUGINS] = ""  # the provider's plugin is wanted
    # the JavaScript runtime wants a home it may write to
    folder = request.folder
    return kept | {"HOME": folder, "DENO_DIR": f"{folder}/.deno", "TMPDIR": folder}
