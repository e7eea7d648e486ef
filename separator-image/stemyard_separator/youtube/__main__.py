"""The process that runs yt-dlp: one request on standard input, lines of progress and one result on standard output."""

import sys
from typing import TextIO

from stemyard_separator.youtube.diagnosis import diagnose
from stemyard_separator.youtube.download import WarningCollector, fetch
from stemyard_separator.youtube.messages import Downloaded, DownloadFailed, DownloadRequest, Step, UnsupportedLink


def _tell(output: TextIO, line: Step | Downloaded | UnsupportedLink | DownloadFailed) -> None:
    output.write(line.model_dump_json() + "\n")
    output.flush()


def main() -> int:
    """Serve one request; a failure is an answer, so the exit code is 0 either way."""
    output, sys.stdout = sys.stdout, sys.stderr  # whatever yt-dlp or a plugin prints must not mix with answers
    request = DownloadRequest.model_validate_json(sys.stdin.read())
    warnings = WarningCollector()
    try:
        _tell(output, fetch(request, warnings, lambda step: _tell(output, step)))
    except Exception as error:  # noqa: BLE001 - every failure has a code
        code, detail = diagnose(error, warnings.kept)
        _tell(output, DownloadFailed(code=code, detail=detail))
    return 0


if __name__ == "__main__":
    sys.exit(main())
