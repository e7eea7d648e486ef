"""Ports for servers that tests start: no outgoing connection may take one before its server listens."""

import socket
import sys
from pathlib import Path

import pytest

from localcluster import control_plane
from localcluster.control_plane import free_port
from localcluster.errors import NotReadyError


@pytest.mark.skipif(sys.platform != "linux", reason="the range is read as Linux states it")
def test_a_free_port_is_given_to_no_outgoing_connection() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < first for _ in range(20))


def test_a_port_that_is_taken_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as taken:
        own = taken.getsockname()[1]
        monkeypatch.setattr(control_plane, "_PORTS", range(own, own + 1))
        with pytest.raises(NotReadyError, match="no port"):
            free_port()
