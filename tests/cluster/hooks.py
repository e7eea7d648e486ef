"""Runs in a pod of the cluster tests: a consumer of webhooks that misbehaves first. Standard library only.

Below /flaky each message is answered 500 at first, below /gone always 410; GET /received tells what came.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

received: list[dict[str, object]] = []
lock = threading.Lock()


class Hooks(BaseHTTPRequestHandler):
    """Remembers what it is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a webhook."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with lock:
            before = sum(one["id"] == self.headers["webhook-id"] for one in received)
            told = {"path": self.path, "id": self.headers["webhook-id"], "headers": dict(self.headers), "body": body}
            received.append(told)
        bad = 500 if self.path.startswith("/flaky") and not before else 410 if self.path.startswith("/gone") else 204
        self._answer(bad, b"")

    def do_GET(self) -> None:
        """Tell what came."""
        with lock:
            self._answer(200, json.dumps(received).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8000), Hooks).serve_forever()
