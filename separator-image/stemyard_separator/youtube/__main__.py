"""The process that runs yt-dlp: reads one request on stdin, writes progress and one result on stdout."""

import sys
from typing import TextIO

from stemyard_separator.youtube.messages import DownloaderStarted, DownloadRequest, Message, Overlay
from stemyard_separator.youtube.overlay import OverlayError, use_overlay


def _write(output: TextIO, message: Message) -> None:
    output.write(message.model_dump_json() + "\n")
    output.flush()


def main() -> int:
    """Serve one request; a failure is a regular message, so the exit code is 0 either way."""
    output, sys.stdout = sys.stdout, sys.stderr  # output of yt-dlp and plugins must not mix with messages
    request = DownloadRequest.model_validate_json(sys.stdin.read())
    refusal = _overlay_refusal(request.overlay)
    _serve(request, output, refusal)
    return 0


def _overlay_refusal(overlay: Overlay | None) -> str | None:
    """Use the overlay if there is one; return why it cannot be used."""
    try:
        if overlay is not None:
            use_overlay(overlay)
    except OverlayError as error:
        return str(error)
    return None


def _serve(request: DownloadRequest, output: TextIO, refusal: str | None) -> None:
    # imported here: these modules import yt-dlp, of the overlay or of the image
    from stemyard_separator.youtube.diagnosis import diagnose
    from stemyard_separator.youtube.download import WarningCollector, fetch, versions

    _write(output, DownloaderStarted(versions=versions(), overlay_refusal=refusal))
    warnings = WarningCollector()
    try:
        _write(output, fetch(request, warnings, lambda step: _write(output, step)))
    except Exception as error:  # noqa: BLE001 - every failure has a code
        _write(output, diagnose(error, warnings.messages))


if __name__ == "__main__":
    sys.exit(main())
