"""Renderings: NetworkPolicies towards DNS, stores in the cluster, the API server, and Cilium's own."""

from collections.abc import Mapping
from typing import Final

from tests.chart.rendered import Object
from tests.chart.rows import EXTERNAL, Row, egress

CILIUM: Final[Object] = {"networkPolicy": {"cilium": {"enabled": True}}}
MINIO: Final = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}},
    "podSelector": {"matchLabels": {"app": "minio"}},
}
PRIVATE: Final[Object] = {
    "objectStore": {"endpoint": "http://minio.storage.svc", "region": "us-east-1", "existingSecret": "bucket"}
}
EVERYWHERE: Final = {"ipBlock": {"cidr": "0.0.0.0/0"}}


def dns(**fields: object) -> Object:
    return {"networkPolicy": {"dns": fields}}


def tcp(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}


ROWS: Final[Mapping[str, Row]] = {
    "DNS is on port 53": Row(
        {}, has={"NetworkPolicy separator": egress({"ports": [tcp(53), {"port": 53, "protocol": "UDP"}]})}
    ),
    "OpenShift: DNS is on port 5353 of its own pods": Row(
        dns(
            namespace="openshift-dns",
            podLabels={"k8s-app": None, "dns.operator.openshift.io/daemonset-dns": "default"},
            ports=[5353],
        ),
        has={
            name: egress(
                {
                    "to": [
                        {
                            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}},
                            "podSelector": {"matchLabels": {"dns.operator.openshift.io/daemonset-dns": "default"}},
                        }
                    ],
                    "ports": [{"port": 5353, "protocol": "UDP"}, tcp(5353)],
                }
            )
            for name in ("NetworkPolicy separator", "NetworkPolicy api", "NetworkPolicy operator", "NetworkPolicy test")
        },
        lacks={"NetworkPolicy separator": egress({"ports": [tcp(53)]})},
    ),
    "no port of DNS": Row(dns(ports=[]), refused="ports"),
    "no such port": Row(dns(ports=[70000]), refused="ports"),
    "MinIO in the cluster is selected by labels": Row(
        {"objectStore": {"egressPeers": [MINIO]}},
        has={
            name: egress({"to": [MINIO], "ports": [tcp(80)]})
            for name in ("NetworkPolicy separator", "NetworkPolicy api", "NetworkPolicy operator")
        },
        lacks={"NetworkPolicy separator": egress({"to": [EVERYWHERE]})},
        base=PRIVATE,
    ),
    "its pods listen on another port than its Service": Row(
        {"objectStore": {"egressPeers": [MINIO], "egressPort": 9000}},
        has={"NetworkPolicy separator": egress({"to": [MINIO], "ports": [tcp(9000)]})},
        lacks={"NetworkPolicy separator": egress({"to": [MINIO], "ports": [tcp(80)]})},
        base=PRIVATE,
    ),
    "pods and addresses": Row(
        {"objectStore": {"egressPeers": [MINIO], "egressCIDRs": ["10.9.0.0/16"]}},
        has={"NetworkPolicy operator": egress({"to": [MINIO, {"ipBlock": {"cidr": "10.9.0.0/16"}}]})},
        base=PRIVATE,
    ),
    "a peer selects pods, not addresses": Row(
        {"objectStore": {"egressPeers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}, refused="egressPeers", base=PRIVATE
    ),
    "an empty peer is every pod of the namespace": Row(
        {"objectStore": {"egressPeers": [{}]}}, refused="egressPeers", base=PRIVATE
    ),
    "a port of no pods": Row(
        {"objectStore": {"egressPort": 9000}},
        refused="objectStore.egressPort is the port of the store's pods, but objectStore.egressPeers is empty",
        base=PRIVATE,
    ),
    "peers of another store than the bundled one": Row(
        {"store": {"enabled": True}, "objectStore": {"egressPeers": [MINIO]}},
        refused="objectStore.egressPeers are pods of another store, but store.enabled=true runs a bundled one",
        base={},
    ),
    "without CIDRs separators reach every public address of the store's port": Row(
        {}, has={"NetworkPolicy separator": egress({"to": [EVERYWHERE], "ports": [tcp(443)]})}, base=EXTERNAL
    ),
    "Cilium: separators reach the store by its names only": Row(
        CILIUM,
        has={
            "CiliumNetworkPolicy separator": {
                "spec": {
                    "endpointSelector": {"matchExpressions": [{"key": "stemyard.dev/stage", "operator": "Exists"}]},
                    "egress": [
                        {
                            "toFQDNs": [
                                {"matchName": "s3.eu-west-1.amazonaws.com"},
                                {"matchName": "stemyard.s3.eu-west-1.amazonaws.com"},
                            ],
                            "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}],
                        }
                    ],
                }
            }
        },
        lacks={"NetworkPolicy separator": egress({"to": [EVERYWHERE]})},
        base=EXTERNAL,
    ),
    "Cilium: names are learnt from the cluster's DNS": Row(
        CILIUM,
        has={
            "CiliumNetworkPolicy separator": egress(
                {
                    "toEndpoints": [
                        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}}
                    ],
                    "toPorts": [
                        {
                            "ports": [{"port": "53", "protocol": "ANY"}],
                            "rules": {"dns": [{"matchPattern": "*"}]},
                        }
                    ],
                }
            )
        },
        base=EXTERNAL,
    ),
    "Cilium: fetch still reaches the public internet": Row(
        CILIUM, has={"NetworkPolicy fetch": egress({"to": [EVERYWHERE], "ports": [tcp(80), tcp(443)]})}, base=EXTERNAL
    ),
    "Cilium: the R2 bucket by its name": Row(
        CILIUM,
        has={"CiliumNetworkPolicy separator": egress({"toFQDNs": [{"matchName": "abc123.r2.cloudflarestorage.com"}]})},
    ),
    "Cilium: the API server is no CIDR": Row(
        CILIUM,
        has={
            f"CiliumNetworkPolicy {part}": egress(
                {
                    "toEntities": ["kube-apiserver"],
                    "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}, {"port": "6443", "protocol": "TCP"}]}],
                }
            )
            for part in ("api", "operator")
        },
        lacks={"CiliumNetworkPolicy rebuild": None},
    ),
    "Cilium: nor is it for the Job that rebuilds": Row(
        {**CILIUM, "rebuild": {"enabled": True}, "install": {"id": "lost"}},
        has={"CiliumNetworkPolicy rebuild": egress({"toEntities": ["kube-apiserver"]})},
    ),
    "Cilium: CIDRs that are given are used": Row(
        {**CILIUM, "objectStore": {"egressCIDRs": ["10.9.0.0/16"]}},
        has={"NetworkPolicy separator": egress({"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]})},
        lacks={"CiliumNetworkPolicy separator": None},
        base=EXTERNAL,
    ),
    "Cilium: the bundled store is selected by labels": Row(
        {**CILIUM, "store": {"enabled": True}}, lacks={"CiliumNetworkPolicy separator": None}, base={}
    ),
    "Cilium without its DNS proxy": Row(
        {"networkPolicy": {"cilium": {"enabled": True, "storeByName": False}}},
        has={
            "NetworkPolicy separator": egress({"to": [EVERYWHERE]}),
            "CiliumNetworkPolicy operator": egress({"toEntities": ["kube-apiserver"]}),
        },
        lacks={"CiliumNetworkPolicy separator": None},
        base=EXTERNAL,
    ),
    "without Cilium there is none of its kinds": Row(
        {}, lacks={"CiliumNetworkPolicy separator": None, "CiliumNetworkPolicy api": None}, base=EXTERNAL
    ),
    "Cilium's policies alone": Row(
        {"networkPolicy": {"enabled": False, "cilium": {"enabled": True}}},
        refused="networkPolicy.cilium.enabled=true adds to the NetworkPolicies, but networkPolicy.enabled=false",
    ),
    "no policies at all": Row(
        {"networkPolicy": {"enabled": False}}, lacks={"NetworkPolicy separator": None, "NetworkPolicy api": None}
    ),
    "an egress proxy for fetch": Row(
        {"fetch": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "10.7.0.3/32"}}], "ports": [tcp(3128)]}]}},
        has={"NetworkPolicy fetch": egress({"to": [{"ipBlock": {"cidr": "10.7.0.3/32"}}], "ports": [tcp(3128)]})},
    ),
}
