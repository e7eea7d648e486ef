"""The process that runs yt-dlp: reads one request on stdin, writes progress and one result on stdout."""

import sys
from typing import TextIO

from stemyard_separator.youtube.diagnosis import diagnose
from stemyard_separator.youtube.download import WarningCollector, fetch
from stemyard_separator.youtube.messages import DownloadFailed, DownloadRequest, Message


def _write(output: TextIO, message: Message) -> None:
    output.write(message.model_dump_json() + "\n")
    output.flush()


def main() -> int:
    """Serve one request; a failure is a regular message, so the exit code is 0 either way."""
    output, sys.stdout = sys.stdout, sys.stderr  # output of yt-dlp and plugins must not mix with messages
    request = DownloadRequest.model_validate_json(sys.stdin.read())
    warnings = WarningCollector()
    try:
        _write(output, fetch(request, warnings, lambda step: _write(output, step)))
    except Exception as error:  # noqa: BLE001 - every failure has a code
        code, detail = diagnose(error, warnings.messages)
        _write(output, DownloadFailed(code=code, detail=detail))
    return 0


if __name__ == "__main__":
    sys.exit(main())
