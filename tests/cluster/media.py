"""Runs in a pod of the cluster tests: serves what fetch downloads. Standard library only.

/clip.mp3 and every other file of the folder given; /take/<name>.wav, for each name a recording that no other name has,
and /song/<name>.wav, the same again and again for two minutes;
/noise.bin, which no decoder takes; /endless.mp3, which never ends; /search?q= and /video/<id>, what the extractor
plugin of tests/support/youtube_plugin asks instead of YouTube; and weights, whatever file of them is asked for.
"""

import hashlib
import io
import json
import sys
import wave
from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

BLOCK = b"\x00" * 65536
RECORDINGS = {
    "karaoke0001": {"title": "Loopback Blues (Karaoke Version)", "channel": "Sing Along", "duration": 11},
    "theRealSong": {"title": "The Stand-ins - Loopback Blues", "channel": "The Stand-ins - Topic", "duration": 11},
    "tenHoursLng": {"title": "Loopback Blues 10 hours", "channel": "Loops", "duration": 36000},
}
"""What a search for anything but `zero hits` finds, worst first."""
AUDIO = {"format_id": "140", "url": "/clip.mp3", "ext": "mp3", "vcodec": "none", "acodec": "mp3"}

WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
"""A safetensors file of no tensors: an empty header after its length."""
TAKES: list[str] = []
"""Names asked for so far; the take of each begins so many frames later than that of the first."""


def take(folder: str, name: str, times: int) -> bytes:
    """A recording of its own: stems of the same samples would be copied from another's, and nothing separated."""
    if name not in TAKES:
        TAKES.append(name)
    with wave.open(str(Path(folder) / "take.wav")) as whole:
        whole.setpos(1 + TAKES.index(name))
        made = io.BytesIO()
        with wave.open(made, "wb") as cut:
            cut.setparams(whole.getparams())
            cut.writeframes(whole.readframes(whole.getnframes()) * times)
    return made.getvalue()


class Media(SimpleHTTPRequestHandler):
    """Files, takes, and two addresses that misbehave."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/noise.bin":
            self._whole(bytes(range(256)) * 400)
        elif self.path.startswith("/take/"):
            self._whole(take(self.directory, self.path, 1), "audio/wav")
        elif self.path.startswith("/song/"):
            self._whole(take(self.directory, self.path, 40), "audio/wav")
        elif self.path.endswith(".safetensors"):
            self._whole(WEIGHTS, "application/octet-stream", {"ETag": hashlib.sha256(WEIGHTS).hexdigest()})
        elif self.path == "/endless.mp3":
            self._endless()
        elif self.path.startswith(("/search", "/video/")):
            self._whole(json.dumps(self._youtube()).encode(), "application/json")
        else:
            super().do_GET()

    def _youtube(self) -> object:
        address = urlsplit(self.path)
        if address.path == "/search":
            hits = {} if parse_qs(address.query)["q"] == ["zero hits"] else RECORDINGS
            return [{"id": video, **described} for video, described in hits.items()]
        video = address.path.removeprefix("/video/")
        return {**RECORDINGS[video], "formats": [AUDIO]}

    def _whole(self, body: bytes, kind: str = "audio/mpeg", headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        # Chunked: there is no Content-Length that could be refused beforehand.
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK))
        except OSError:
            self.close_connection = True


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8000), partial(Media, directory=sys.argv[1])).serve_forever()
