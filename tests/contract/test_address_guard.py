"""The SSRF guard: a table of URLs, and the one table of addresses for webhooks, downloads and NetworkPolicies."""

from ipaddress import ip_address, ip_network

import pytest

from stemyard_contract.address_guard import (
    AddressRefusedError,
    Destination,
    Rules,
    destination,
    is_allowed,
    is_public,
    origin_of,
    permitted,
)

STRICT = Rules()
OPEN = Rules(allow_http=True, ports=frozenset({80, 443, 8443}))

REFUSED_URLS = [
    ("http://example.com/", "not https"),
    ("https://example.com:8443/", "port 8443"),
    ("https://example.com:22/", "port 22"),
    ("https://user:secret@example.com/", "user name"),
    ("https://:443/", "no host"),
    ("https://example.com:0/", "no host"),
    ("https://a..b.example.com/", "empty label"),
    ("https://.example.com/", "empty label"),
    (f"https://{'a' * 64}.example.com/", "63 characters"),
    ("https://example.com:99999/", "no http or https URL"),
    ("https://[::1/", "no http or https URL"),
    ("gopher://example.com/", "no http or https URL"),
    ("file:///etc/passwd", "no http or https URL"),
]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.192",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:168.63.129.16",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a83f:8110",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1::a00:1",
    "100::1",
    "4000::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fec0::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:a83f:8110::",
    "fc00::1",
    "fd12:3456::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
]
METADATA = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "198.51.99.7",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::",
]


@pytest.mark.parametrize(("url", "why"), REFUSED_URLS)
def test_urls_of_strangers_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(AddressRefusedError, match=why):
        destination(url, STRICT, trusted=False)


def test_urls_that_pass() -> None:
    assert destination("https://Example.com/a?b", STRICT, trusted=False) == Destination("https", "example.com", 443)
    assert destination("http://example.com", OPEN, trusted=False).port == 80
    assert destination("https://example.com:8443", OPEN, trusted=False).port == 8443
    assert destination("https://b\u00fccher.example.com./", STRICT, trusted=False).host == "b\u00fccher.example.com."
    assert destination("https://[2606:4700::1111]/", STRICT, trusted=False).host == "2606:4700::1111"
    assert destination("http://10.0.0.7:9000/x", STRICT, trusted=True) == Destination("http", "10.0.0.7", 9000)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_strangers_may_not_name(address: str) -> None:
    with pytest.raises(AddressRefusedError):
        permitted([address], OPEN, trusted=False)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address.partition("%")[0]))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))
    assert permitted([address], STRICT, trusted=False) == [address]


@pytest.mark.parametrize("address", METADATA)
def test_an_allowed_network_never_opens_a_metadata_service(address: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert not is_allowed(ip_address(address), everything)


def test_an_allowed_network_also_holds_the_ipv6_forms_of_its_addresses() -> None:
    allowed = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert all(is_allowed(ip_address(one), allowed) for one in ("10.0.0.1", "::ffff:10.0.0.1", "fd00::1"))
    assert not any(is_allowed(ip_address(one), allowed) for one in ("11.0.0.1", "192.168.0.1", "fc00::1"))


def test_a_name_with_one_bad_address_is_refused_whole() -> None:
    with pytest.raises(AddressRefusedError):
        permitted(["8.8.8.8", "10.0.0.1"], STRICT, trusted=False)


@pytest.mark.parametrize("address", METADATA)
def test_the_metadata_service_is_refused_to_everybody(address: str) -> None:
    with pytest.raises(AddressRefusedError):
        permitted([address], OPEN, trusted=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1"])
def test_the_deployment_itself_may_name_private_addresses(address: str) -> None:
    assert permitted([address], STRICT, trusted=True) == [address]


def test_an_address_may_name_its_interface() -> None:
    assert permitted(["fd00::1%eth0"], STRICT, trusted=True) == ["fd00::1%eth0"]
    for trusted in (True, False):
        with pytest.raises(AddressRefusedError):
            permitted(["fe80::1%eth0"], STRICT, trusted=trusted)


def test_public_ranges_of_the_cluster_are_refused() -> None:
    rules = Rules(denied=(ip_network("198.51.99.0/24"), ip_network("2606:4700::/32")))
    for address in ("198.51.99.7", "2606:4700::1111", "::ffff:198.51.99.7"):
        with pytest.raises(AddressRefusedError):
            permitted([address], rules, trusted=False)


def test_an_origin_has_one_spelling() -> None:
    assert origin_of("HTTPS://Example.com/a") == origin_of("https://example.com:443") == "https://example.com:443"
    for url in ("ftp://example.com", "http:///path", "https://:443/"):
        with pytest.raises(ValueError, match="http"):
            origin_of(url)
