"""What the NetworkPolicies let through: a table of who, whom, port and verdict."""

import pytest

from charts.helm import merge
from stemyard_contract.separationjob import LABEL_STAGE
from tests.chart.policies import End, passes, selected
from tests.chart.rendered import CASES, NAMESPACE, RELEASE, Object, case, environment, of_kind, pods, render
from tests.contract.test_address_guard import METADATA as METADATA_ADDRESSES
from tests.contract.test_address_guard import NOT_PUBLIC

POD_ADDRESS = "10.244.0.9"


def part(component: str) -> End:
    labels = {
        "app.kubernetes.io/name": "stemyard",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": component,
    }
    return End(POD_ADDRESS, NAMESPACE, labels)


def separator(stage: str, namespace: str = NAMESPACE) -> End:
    return End(POD_ADDRESS, namespace, {LABEL_STAGE: stage})


API, OPERATOR, STORE, VALKEY = (part(name) for name in ("api", "operator", "store", "valkey"))
FETCH, SEPARATE = separator("fetch"), separator("separate")
STRANGER = End(POD_ADDRESS, NAMESPACE, {"app": "other"})
DNS = End(POD_ADDRESS, "kube-system", {"k8s-app": "kube-dns"})
KUBERNETES = End("10.96.0.1")
PUBLIC, PUBLIC6 = End("198.51.100.7"), End("2606:4700::1111")
METADATA = End("169.254.169.254")

BUNDLED = [
    (SEPARATE, DNS, 53, True),
    (SEPARATE, OPERATOR, 8085, True),
    (SEPARATE, STORE, 7070, True),
    (SEPARATE, OPERATOR, 8086, False),
    (SEPARATE, VALKEY, 6379, False),
    (SEPARATE, API, 5500, False),
    (SEPARATE, PUBLIC, 443, False),
    (SEPARATE, KUBERNETES, 443, False),
    (FETCH, OPERATOR, 8085, True),
    (FETCH, STORE, 7070, True),
    (FETCH, PUBLIC, 443, True),
    (FETCH, PUBLIC, 80, True),
    (FETCH, PUBLIC6, 443, True),
    (FETCH, PUBLIC, 22, False),
    (FETCH, METADATA, 80, False),
    (FETCH, KUBERNETES, 443, False),
    (FETCH, VALKEY, 6379, False),
    (FETCH, STRANGER, 80, False),
    (FETCH, End("100.64.3.4"), 80, False),
    (FETCH, End("fd00::1"), 443, False),
    (FETCH, End("fe80::1"), 443, False),
    (FETCH, SEPARATE, 443, False),
    (API, VALKEY, 6379, True),
    (API, STORE, 7070, True),
    (API, KUBERNETES, 443, True),
    (API, OPERATOR, 8085, False),
    (OPERATOR, VALKEY, 6379, True),
    (OPERATOR, STORE, 7070, True),
    (OPERATOR, KUBERNETES, 6443, True),
    (OPERATOR, DNS, 53, True),
    (STRANGER, API, 5500, True),
    (PUBLIC, API, 5500, True),
    (STRANGER, API, 5501, True),
    (PUBLIC, API, 5501, False),
    (STRANGER, OPERATOR, 8085, False),
    (STRANGER, OPERATOR, 8086, True),
    (PUBLIC, OPERATOR, 8086, False),
    (STRANGER, VALKEY, 6379, False),
    (PUBLIC, STORE, 7070, True),
    (VALKEY, PUBLIC, 443, False),
    (STORE, PUBLIC, 443, False),
]


NOT_ROUTED = {
    "0.0.0.0",
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "224.0.0.1",
    "239.255.255.255",
    "ff02::1",
}
"""Not public, and no host answers there: the guard refuses them, the policy need not."""
LISTED = sorted(one for one in {*NOT_PUBLIC, *METADATA_ADDRESSES} - NOT_ROUTED if not one.startswith("::ffff:"))
"""IPv4-mapped addresses leave a host as IPv4."""


def policies(objects: list[Object]) -> list[Object]:
    return of_kind(objects, "NetworkPolicy")


@pytest.mark.parametrize(("source", "target", "port", "verdict"), BUNDLED)
def test_the_demo(source: End, target: End, port: int, verdict: bool) -> None:
    assert passes(policies(case("demo")), source, target, port) is verdict


@pytest.mark.parametrize("address", LISTED)
def test_fetch_pods_reach_no_address_that_the_guard_refuses(address: str) -> None:
    target = End(address.partition("%")[0])
    assert not passes(policies(case("demo")), FETCH, target, 80)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_fetch_pods_reach_public_addresses(address: str) -> None:
    assert passes(policies(case("demo")), FETCH, End(address), 443)


def test_a_store_behind_a_cluster_ip_is_for_the_system_alone() -> None:
    rules = policies(case("kept"))
    assert all(passes(rules, one, STORE, 7070) for one in (API, OPERATOR, FETCH, SEPARATE))
    assert not passes(rules, STRANGER, STORE, 7070)
    assert not passes(rules, PUBLIC, STORE, 7070)


def test_a_store_behind_an_ingress_or_a_gateway_lets_its_controller_in() -> None:
    store = {"store": {"enabled": True}}
    for route in ({"ingress": {"enabled": True, "hosts": ["s"]}}, {"httpRoute": {"enabled": True, "parentRefs": [{}]}}):
        assert passes(policies(render(merge(store, {"store": route}))), STRANGER, STORE, 7070)
    assert not passes(policies(render(store)), STRANGER, STORE, 7070)


@pytest.mark.parametrize("name", CASES)
def test_no_pod_is_without_a_policy_in_either_direction(name: str) -> None:
    # Kubernetes lets everything through to and from a pod that no policy selects.
    objects = case(name)
    for pod in pods(objects):
        end = End(namespace=NAMESPACE, labels=pod["metadata"]["labels"])
        held = {direction for one in selected(policies(objects), end) for direction in one["spec"]["policyTypes"]}
        assert held == {"Ingress", "Egress"}, pod["metadata"]["labels"]


def test_the_helm_test_reaches_the_api_and_the_links_and_nothing_else() -> None:
    own = part("test")
    for name, store, port in (("demo", STORE, 7070), ("demo", PUBLIC, 30900), ("external", PUBLIC, 443)):
        rules = policies(case(name))
        assert passes(rules, own, API, 5500)
        assert passes(rules, own, store, port), name
        assert not passes(rules, own, VALKEY, 6379)
        assert not passes(rules, own, KUBERNETES, 6443)


def test_names_are_looked_up_by_both_protocols() -> None:
    for protocol in ("UDP", "TCP"):
        assert passes(policies(case("demo")), FETCH, DNS, 53, protocol)


def test_extra_egress_is_for_fetch_alone() -> None:
    rules, target = policies(case("kept")), End("192.0.2.9")
    assert passes(rules, FETCH, target, 8443)
    assert not passes(rules, SEPARATE, target, 8443)


def test_external_services_are_reached_where_they_are_and_nothing_beside_them() -> None:
    rules, store = policies(case("external")), End("10.1.2.3")
    assert all(passes(rules, one, store, 9000) for one in (API, OPERATOR, FETCH, SEPARATE))
    assert not passes(rules, SEPARATE, End("10.1.3.1"), 9000)
    assert passes(rules, API, End("10.9.9.9"), 6380)
    assert not passes(rules, API, End("10.9.9.9"), 6379)


def test_public_addresses_of_the_cluster_are_not_fetched_from() -> None:
    rules = policies(case("external"))
    assert not passes(rules, FETCH, End("192.0.2.10"), 443)
    assert not passes(rules, FETCH, End("2001:db8::5"), 443)
    assert passes(rules, FETCH, PUBLIC6, 443)


def test_r2_is_reached_at_public_addresses() -> None:
    rules = policies(case("default"))
    assert all(passes(rules, one, PUBLIC, 443) for one in (API, OPERATOR, FETCH, SEPARATE))
    assert not passes(rules, SEPARATE, METADATA, 443)


def test_separators_of_every_watched_namespace_are_held_and_let_in() -> None:
    rules = policies(case("two namespaces"))
    for namespace in ("team-a", "team-b"):
        assert passes(rules, separator("separate", namespace), OPERATOR, 8085)
        assert not passes(rules, separator("fetch", namespace), METADATA, 80)
    assert not passes(rules, separator("separate", "team-c"), OPERATOR, 8085)


def test_webhooks_go_to_public_addresses_on_the_ports_they_may_name() -> None:
    for name, ports in (("demo", {443}), ("kept", {80, 443, 8081, 8443}), ("external", {443, 9443, 3128})):
        rules = policies(case(name))
        allowed = {port for port in (22, 80, 443, 3128, 8081, 8443, 9443) if passes(rules, OPERATOR, PUBLIC, port)}
        # 6379, 6380 and 6443 are Redis and the Kubernetes API, which are allowed anywhere
        assert allowed == ports, name
        assert not passes(rules, OPERATOR, METADATA, 80)
        assert not passes(rules, OPERATOR, STRANGER, 80)
    assert passes(policies(case("kept")), OPERATOR, End("10.3.3.3"), 8080)
    assert not passes(policies(case("kept")), API, End("10.3.3.3"), 8080)


def test_the_api_reaches_cloudflare_only_where_it_keeps_windows_there() -> None:
    # by default the Kubernetes API may be anywhere on 443, which would hide the difference
    narrow = {"networkPolicy": {"kubernetesApiCIDRs": ["10.96.0.1/32"]}}
    assert passes(policies(render({**CASES["external"], **narrow})), API, PUBLIC, 443)
    assert not passes(policies(render({**CASES["kept"], **narrow})), API, PUBLIC, 443)


def test_metrics_are_for_whom_the_deployment_names() -> None:
    prometheus = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    rules = policies(render({**CASES["default"], "networkPolicy": {"metricsFrom": prometheus}}))
    assert passes(rules, End(POD_ADDRESS, "monitoring", {"app": "prometheus"}), OPERATOR, 8086)
    assert not passes(rules, STRANGER, OPERATOR, 8086)
    assert passes(rules, STRANGER, API, 5500)
    assert not passes(rules, STRANGER, API, 5501)
    web = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}]
    rules = policies(render({**CASES["default"], "networkPolicy": {"metricsFrom": prometheus, "apiFrom": web}}))
    for namespace, port in (("monitoring", 5501), ("web", 5500)):
        other = 5500 if port == 5501 else 5501
        assert passes(rules, End(POD_ADDRESS, namespace, {}), API, port)
        assert not passes(rules, End(POD_ADDRESS, namespace, {}), API, other)
    assert passes(rules, part("test"), API, 5500)
    assert not passes(rules, STRANGER, API, 5500)


def test_traces_go_to_their_collector_and_only_where_there_is_one() -> None:
    narrow = {"networkPolicy": {"kubernetesApiCIDRs": ["10.96.0.1/32"]}}
    collector = End(POD_ADDRESS, "monitoring", {"app": "collector"})
    traced = render({**CASES["default"], **narrow, "tracing": {"endpoint": "http://collector.monitoring:4318"}})
    for source, component in ((API, "api"), (OPERATOR, "operator")):
        assert passes(policies(traced), source, collector, 4318)
        assert not passes(policies(case("default")), source, collector, 4318)
        assert environment(traced, component)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring:4318"
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in environment(case("default"), component)


def test_policies_can_be_left_out() -> None:
    assert policies(render({**CASES["default"], "networkPolicy": {"enabled": False}})) == []
