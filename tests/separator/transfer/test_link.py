"""Which addresses a link may lead to."""

import ipaddress
import socket

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.transfer.link import is_public, resolve

PRIVATE_ADDRESSES = """
127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 192.0.0.1 198.18.0.1
224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: fe80::1 fc00::1 fd12:3456::1 ff02::1 2001:db8::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: ::127.0.0.1
"""
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
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


@pytest.mark.parametrize("text", PRIVATE_ADDRESSES.split())
def test_private_addresses(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("link", REFUSED_LINKS)
def test_links_that_are_refused(link: str) -> None:
    with pytest.raises(SourceError) as caught:
        resolve(link, ())
    assert caught.value.code is FailureCode.SOURCE_ADDRESS_REFUSED


def test_a_name_that_resolves_to_the_house_is_refused() -> None:
    own = socket.gethostname()
    address = ipaddress.ip_address(socket.gethostbyname(own))
    assert not address.is_global, "this machine is not on the public internet itself"

    with pytest.raises(SourceError) as caught:
        resolve(f"http://{own}/song.mp3", ())
    assert caught.value.code is FailureCode.SOURCE_ADDRESS_REFUSED


def test_a_name_nobody_knows() -> None:
    with pytest.raises(SourceError) as caught:
        resolve("http://no-such-host.invalid/song.mp3", ())
    assert caught.value.code is FailureCode.SOURCE_NETWORK


def test_what_is_resolved_is_pinned() -> None:
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
