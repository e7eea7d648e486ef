"""The guard of webhook URLs: what is refused without resolving anything."""

from ipaddress import ip_network

import pytest

from stemyard_contract.address_guard import AddressRefusedError, Rules
from stemyard_contract.webhook_guard import WebhookGuard

OWN = "http://10.0.0.7:9000/hook"
STRICT = WebhookGuard(Rules(), OWN, frozenset({"http://consumer.team.svc:8080"}))
OPEN = WebhookGuard(Rules(allow_http=True, ports=frozenset({80, 443, 8080})))


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/hook",
        "https://B\u00fccher.example.com./hook?a=b",
        "https://93.184.216.34/hook",
        "https://[2606:4700::1111]/hook",
        "https://127.0.0.1.nip.example.com/",
        "https://svc.example.com/",
        OWN,
        "http://consumer.team.svc:8080/any",
    ],
)
def test_what_may_be_public_passes(url: str) -> None:
    assert STRICT.check(url).host


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://app.example.com/", "https"),
        ("https://app.example.com:8443/", "port 8443"),
        ("https://user@app.example.com/", "user name"),
        ("ftp://app.example.com/", "http or https"),
        ("/hook", "http or https"),
        (OWN + "/more", "https"),
        ("http://consumer.team.svc/", "https"),
    ],
)
def test_schemes_ports_and_credentials_are_refused(url: str, why: str) -> None:
    with pytest.raises(AddressRefusedError, match=why):
        STRICT.check(url)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("[::1]", "[::ffff:10.0.0.1]", "[fd00::1]", "[64:ff9b::a00:1]", "[2001:db8::1]"),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "10.0x1", "\uff11\uff12\uff17.0.0.1"),
        *("localhost", "LOCALHOST.", "redis", "redis."),
        *("a.localhost", "a.local", "a.internal", "a.home.arpa", "a.onion", "a.alt", "a.invalid", "a.svc"),
        *("stemyard-redis.stemyard.svc", "kubernetes.default.svc.cluster.local.", "metadata.google.internal"),
    ],
)
@pytest.mark.parametrize("port", ["", ":8080"])
def test_private_hosts_are_refused_however_they_are_spelt(host: str, port: str) -> None:
    with pytest.raises(AddressRefusedError, match="host"):
        OPEN.check(f"http://{host}{port}/hook")


def test_only_what_the_deployment_configures_is_trusted() -> None:
    assert STRICT.trusts(OWN)
    assert STRICT.trusts("HTTP://Consumer.team.svc:8080/any")
    for url in (OWN + "/more", "http://consumer.team.svc/", "ftp://consumer.team.svc:8080/", "hook"):
        assert STRICT.trusts(url) is False


def test_the_metadata_service_is_refused_even_if_it_is_configured() -> None:
    guard = WebhookGuard(Rules(), "http://169.254.169.254/hook")
    with pytest.raises(AddressRefusedError, match="not public"):
        guard.check("http://169.254.169.254/hook")


def test_the_deployments_own_networks_are_refused() -> None:
    guard = WebhookGuard(Rules(denied=(ip_network("203.0.112.0/20"), ip_network("8.8.8.0/24"))))
    with pytest.raises(AddressRefusedError, match="not public"):
        guard.check("https://8.8.8.8/hook")
    assert guard.check("https://8.8.4.4/hook").host == "8.8.4.4"
