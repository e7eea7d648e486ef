"""Runs in a pod of the cluster tests: serves what fetch downloads. Standard library only.

/clip.mp3 and every other file of the folder given; /noise.bin, which no decoder takes; /endless.mp3, which never ends.
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

BLOCK = b"\x00" * 65536


class Media(SimpleHTTPRequestHandler):
    """Files, and two addresses that misbehave."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/noise.bin":
            self._whole(bytes(range(256)) * 400)
        elif self.path == "/endless.mp3":
            self._endless()
        else:
            super().do_GET()

    def _whole(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
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
