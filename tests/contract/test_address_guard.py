"""Which addresses a webhook may go to: a table of URLs, and one of what names may resolve to."""

from ipaddress import ip_network

import pytest

from stemyard_contract.address_guard import AddressRefusedError, Destination, Rules, destination, origin_of, permitted

STRICT = Rules()
OPEN = Rules(allow_http=True, ports=frozenset({80, 443, 8443}))

REFUSED_URLS = [
    ("http://example.com/", "not https"),
    ("https://example.com:8443/", "port 8443"),
    ("https://example.com:22/", "port 22"),
    ("https://user:secret@example.com/", "user name"),
    ("https://:443/", "no host"),
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
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
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
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fec0::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
]
METADATA = ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200"]
PUBLIC = ["8.8.8.8", "198.51.99.7", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]


@pytest.mark.parametrize(("url", "why"), REFUSED_URLS)
def test_urls_of_strangers_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(AddressRefusedError, match=why):
        destination(url, STRICT, trusted=False)


def test_urls_that_pass() -> None:
    assert destination("https://Example.com/a?b", STRICT, trusted=False) == Destination("https", "example.com", 443)
    assert destination("http://example.com", OPEN, trusted=False).port == 80
    assert destination("https://example.com:8443", OPEN, trusted=False).port == 8443
    assert destination("http://10.0.0.7:9000/x", STRICT, trusted=True) == Destination("http", "10.0.0.7", 9000)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_strangers_may_not_name(address: str) -> None:
    with pytest.raises(AddressRefusedError):
        permitted([address], OPEN, trusted=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert permitted([address], STRICT, trusted=False) == [address]


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


def test_public_ranges_of_the_cluster_are_refused() -> None:
    rules = Rules(denied=(ip_network("198.51.99.0/24"), ip_network("2606:4700::/32")))
    for address in ("198.51.99.7", "2606:4700::1111", "::ffff:198.51.99.7"):
        with pytest.raises(AddressRefusedError):
            permitted([address], rules, trusted=False)


def test_an_origin_has_one_spelling() -> None:
    assert origin_of("HTTPS://Example.com/a") == origin_of("https://example.com:443") == "https://example.com:443"
    with pytest.raises(ValueError, match="http"):
        origin_of("ftp://example.com")
