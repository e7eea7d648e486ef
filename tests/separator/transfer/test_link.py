"""Addresses that a link may lead to, and pinning."""

import ipaddress
import socket

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.transfer.link import resolve
from tests.contract.test_address_guard import METADATA, NOT_PUBLIC

REFUSED_LINKS = [
    "http://2130706433/song.mp3",
    "http://0x7f.1/song.mp3",
    "http://127.1/song.mp3",
    "http://localhost/song.mp3",
    "http://[::1]/song.mp3",
    "http://[::ffff:127.0.0.1]/song.mp3",
    "http://user:word@127.0.0.1/song.mp3",
    "http://8.8.8.8:22/song.mp3",
    "http://8.8.8.8:99999/song.mp3",
    "ftp://8.8.8.8/song.mp3",
    "file:///etc/passwd",
    "gopher://8.8.8.8/",
    "http:///song.mp3",
    "http://[::1/",
]


@pytest.mark.parametrize("address", [one for one in NOT_PUBLIC if "%" not in one])
def test_links_to_addresses_that_are_not_public_are_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(SourceError) as caught:
        resolve(f"http://{host}/song.mp3", ())
    assert caught.value.code is FailureCode.SOURCE_ADDRESS_REFUSED


@pytest.mark.parametrize("address", METADATA)
def test_an_allowed_network_never_includes_a_metadata_service(address: str) -> None:
    everything = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(SourceError) as caught:
        resolve(f"http://{host}/latest/meta-data", everything)
    assert caught.value.code is FailureCode.SOURCE_ADDRESS_REFUSED


@pytest.mark.parametrize("link", REFUSED_LINKS)
def test_unusual_forms_of_links_are_refused(link: str) -> None:
    with pytest.raises(SourceError) as caught:
        resolve(link, ())
    assert caught.value.code is FailureCode.SOURCE_ADDRESS_REFUSED


def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    own = socket.gethostname()
    address = ipaddress.ip_address(socket.gethostbyname(own))
    assert not address.is_global, "this machine is not on the public internet itself"

    with pytest.raises(SourceError) as caught:
        resolve(f"http://{own}/song.mp3", ())
    assert caught.value.code is FailureCode.SOURCE_ADDRESS_REFUSED


def test_an_unknown_host_is_a_network_error() -> None:
    with pytest.raises(SourceError) as caught:
        resolve("http://no-such-host.invalid/song.mp3", ())
    assert caught.value.code is FailureCode.SOURCE_NETWORK


def test_the_resolved_address_is_pinned() -> None:
    target = resolve("https://8.8.8.8/a%20b?c=d#e", ())
    assert target.authority == "8.8.8.8"
    assert target.pinned(target.addresses[0]) == "https://8.8.8.8:443/a%20b?c=d"


def test_an_allowed_network_is_reached_on_any_port() -> None:
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    target = resolve("http://127.0.0.1:8123", networks)
    assert target.authority == "127.0.0.1:8123"
    assert target.pinned(target.addresses[0]) == "http://127.0.0.1:8123/"
    with pytest.raises(SourceError):
        resolve("http://10.0.0.1:8123", networks)
