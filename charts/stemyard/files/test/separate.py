"""`helm test`: uploads a clip, requests its separation, downloads both stems and deletes the track."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_URL = os.environ["STEMYARD_URL"].rstrip("/")
_KEY_FILE = os.environ.get("STEMYARD_API_KEY_FILE", "")
_KEY = Path(_KEY_FILE).read_text().strip() if _KEY_FILE else os.environ.get("STEMYARD_API_KEY", "")
_CLIP = Path(os.environ["CLIP"])
_SECONDS = float(os.environ.get("TIMEOUT_SECONDS", "600"))
_KIND = "audio/mpeg"
_REQUEST_SECONDS = 30
_POLL_SECONDS = 1
_SERVER_ERROR = 500
_TLS = ssl.create_default_context()
if "CA_FILE" in os.environ:  # of the bundled store, beside the public ones
    _TLS.load_verify_locations(cafile=os.environ["CA_FILE"])
_TRIES = 5
"""Attempts of a request, since a Service may route it to a terminating pod."""


class FailedError(Exception):
    """The test failed; the message says where."""


def request(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """Return the body of a response; retry connection and server errors."""
    for left in reversed(range(_TRIES)):
        message = urllib.request.Request(url, data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(message, timeout=_REQUEST_SECONDS, context=_TLS) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code < _SERVER_ERROR or not left:
                raise FailedError(f"{method} {_shown(url)}: {error.code} {error.read(500)!r}") from error
        except OSError as error:
            if not left:
                raise FailedError(f"{method} {_shown(url)}: {error}") from error
        time.sleep(_POLL_SECONDS)
    raise AssertionError


def _shown(url: str) -> str:
    """Return a URL without its query, which may contain a signature."""
    return url.partition("?")[0]


def call(method: str, path: str, document: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Return the API's response as JSON, or None if it has no body."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": _KEY} if _KEY else {})
    answer = request(method, _URL + path, json.dumps(document).encode() if document else None, headers)
    return json.loads(answer) if answer else None


def upload() -> str:
    """Upload the clip and return the upload id."""
    clip = _CLIP.read_bytes()
    slot = call("POST", "/uploads", {"filename": _CLIP.name, "size": len(clip), "content_type": _KIND})
    request("PUT", slot["url"], clip, slot["headers"])
    return str(slot["upload_id"])


def separated(track: str) -> dict[str, str]:
    """Wait for a track to complete and return its result."""
    deadline = time.monotonic() + _SECONDS
    shown = None
    while time.monotonic() < deadline:
        state = call("GET", f"/job/{track}")
        if (line := f"{state.get('phase')} {state.get('progress')} %") != shown:
            print(shown := line, flush=True)
        if state["status"] == "completed":
            return dict(state["result"])
        if state["status"] == "failed":
            raise FailedError(f"{state.get('code')}: {state.get('error')}")
        time.sleep(_POLL_SECONDS)
    raise FailedError(f"track {track} did not complete within {_SECONDS:.0f} s")


def run() -> None:
    """Run one separation from end to end and delete its track."""
    wanted = {"upload_id": upload()} | ({"model": os.environ["MODEL"]} if os.environ.get("MODEL") else {})
    track = call("POST", "/separate-audio", wanted)["track_id"]
    result = separated(track)
    for stem in ("vocals", "instrumental"):
        size = len(request("GET", result[f"{stem}_url"]))
        print(f"{stem}: {size} bytes")
        if not size:
            raise FailedError(f"{stem} is empty")
    call("DELETE", f"/job/{track}")


def main() -> int:
    """Run the test; return the exit code."""
    try:
        run()
    except FailedError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
