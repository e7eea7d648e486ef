"""A relay before a real server that cuts connections, as flaky networks and restarted load balancers do."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from localcluster.control_plane import free_port

_CHUNK = 1 << 14


@dataclass
class Relay:
    """Relays each connection; `cut_after` may change at any time."""

    target: int
    """Port of the server on this machine."""
    port: int = field(default_factory=free_port)
    cut_after: list[int] = field(default_factory=list)
    """For each of the next connections, the bytes of the server after which both ends are closed; 0 is at once."""
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        """Relay in threads of their own."""
        with socket.create_server(("127.0.0.1", self.port)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            try:
                yield self
            finally:
                _shut(listener)
                thread.join(10)

    def _accept(self, listener: socket.socket) -> None:
        threads: list[tuple[threading.Thread, socket.socket]] = []
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                break
            self.connections += 1
            limit = self.cut_after.pop(0) if self.cut_after else None
            thread = threading.Thread(target=self._relay, args=(near, limit))
            thread.start()
            threads.append((thread, near))
        for thread, near in threads:
            _shut(near)
            thread.join(10)

    def _relay(self, near: socket.socket, limit: int | None) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as far:
            requests = threading.Thread(target=_copy, args=(near, far, None))
            requests.start()
            _copy(far, near, limit)
            requests.join()


def _copy(source: socket.socket, sink: socket.socket, most: int | None) -> None:
    """Copy until either end is closed or so many bytes have been copied, and end both."""
    with contextlib.suppress(OSError):
        while most is None or most > 0:
            chunk = source.recv(_CHUNK if most is None else min(most, _CHUNK))
            if not chunk:
                break
            sink.sendall(chunk)
            most = None if most is None else most - len(chunk)
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
