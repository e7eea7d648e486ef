"""Runs yt-dlp in a separate process, without this process's secrets and within a deadline."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, assert_never

from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.logs import log, log_failure
from stemyard_separator.process import kill_group, killed_on_exit
from stemyard_separator.youtube.messages import (
    MESSAGES,
    Downloaded,
    DownloaderStarted,
    DownloadFailed,
    DownloadProgress,
    DownloadRequest,
    Message,
    OnDownloadProgress,
    UnsupportedLink,
)

_LOG_TAIL: Final = 2000
_WITHHELD: Final = ("STEMYARD_ASSIGNMENT", "STEMYARD_POD_UID", "STEMYARD_TOKEN_PATH", "STEMYARD_YOUTUBE_PROXY")
_NO_PLUGINS: Final = "YTDLP_NO_PLUGINS"


def run_downloader(
    request: DownloadRequest, deadline_seconds: float, on_progress: OnDownloadProgress
) -> Downloaded | UnsupportedLink:
    """Download a recording; return its path and metadata, or that no allowed extractor supports the link.

    Raises:
        SourceError: with the code of yt-dlp's error; SOURCE_NETWORK after the deadline.
    """
    command = [sys.executable, "-m", "stemyard_separator.youtube"]
    log = Path(request.folder, "downloader.log")
    with log.open("w") as stderr:
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(request),
            start_new_session=True,
            text=True,
        )
    with killed_on_exit(process):
        timer = threading.Timer(deadline_seconds, kill_group, (process.pid,))
        timer.start()
        try:
            result = _exchange(process, request, on_progress)
            if result is None:
                raise _ended_early(process.wait(), log)
            return result
        finally:
            timer.cancel()


def _exchange(
    process: subprocess.Popen[str], request: DownloadRequest, on_progress: OnDownloadProgress
) -> Downloaded | UnsupportedLink | None:
    """Send the request and read messages until the result; None if the process ends without one."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    process.stdin.write(request.model_dump_json())
    process.stdin.close()
    for line in process.stdout:
        message = _parse(line)
        match message:
            case DownloaderStarted() as started:
                _log_start(started)
            case DownloadProgress() as progress:
                on_progress(progress)
            case DownloadFailed(code=code, detail=detail, cause=cause):
                raise SourceError(code, detail, cause=cause)
            case Downloaded() | UnsupportedLink() as result:
                return result
            case _:
                assert_never(message)
    return None


def _log_start(started: DownloaderStarted) -> None:
    log("downloader started", versions=started.versions)
    if started.overlay_refusal is not None:
        log_failure("yt-dlp overlay refused, using the image's own", reason=started.overlay_refusal)


def _parse(line: str) -> Message:
    try:
        return MESSAGES.validate_json(line)
    except ValidationError:
        raise SourceError(FailureCode.EXTRACTOR_BROKEN, "The downloader's output cannot be parsed.") from None


def _ended_early(status: int, log: Path) -> SourceError:
    log_failure("downloader ended", status=status, errors=log.read_text(errors="replace")[-_LOG_TAIL:])
    if status == -signal.SIGKILL:
        return SourceError(FailureCode.SOURCE_NETWORK, "The download took too long and was stopped.")
    return SourceError(FailureCode.EXTRACTOR_BROKEN, f"The downloader ended with status {status}.")


def _environment(request: DownloadRequest) -> Mapping[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
    if request.po_token_url is not None:
        inherited[_NO_PLUGINS] = ""  # the provider's plugin is needed
    # the JavaScript runtime needs a writable home
    folder = request.folder
    return inherited | {"HOME": folder, "DENO_DIR": f"{folder}/.deno", "TMPDIR": folder}
