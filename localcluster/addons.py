"""Manifests that every new cluster gets: DNS, a default StorageClass with volumes, simulated GPUs; pure functions."""

from pathlib import Path
from typing import Any

from localcluster.addresses import Plan
from localcluster.node_config import NODE

Document = dict[str, Any]

DNS_IMAGE = "localhost/stemyard/coredns:1"
STORAGE_CLASS = "local"
VOLUMES = 16
VOLUME_SIZE = "20Gi"
_DNS_LABELS = {"k8s-app": "kube-dns"}
_RBAC = "rbac.authorization.k8s.io"


def corefile(upstream: bool) -> str:
    """Return CoreDNS' configuration; without an upstream it resolves only names of the cluster."""
    forward = "  forward . /etc/resolv.conf\n" if upstream else ""
    return (
        ".:53 {\n  errors\n  health :8080\n  ready :8181\n"
        "  kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        "    pods insecure\n    fallthrough in-addr.arpa ip6.arpa\n  }\n"
        f"{forward}  cache 30\n}}\n"
    )


def dns(plan: Plan, upstream: bool) -> dict[str, Document]:
    """Return CoreDNS with its RBAC objects and its Service, by API path."""
    system = "/api/v1/namespaces/kube-system"
    rbac = f"/apis/{_RBAC}/v1"
    return {
        f"{system}/serviceaccounts/coredns": _object("v1", "ServiceAccount", "coredns", "kube-system"),
        f"{rbac}/clusterroles/system:coredns": _dns_role(),
        f"{rbac}/clusterrolebindings/system:coredns": _dns_binding(),
        f"{system}/configmaps/coredns": {
            **_object("v1", "ConfigMap", "coredns", "kube-system"),
            "data": {"Corefile": corefile(upstream)},
        },
        "/apis/apps/v1/namespaces/kube-system/deployments/coredns": _dns_deployment(),
        f"{system}/services/kube-dns": _dns_service(plan),
    }


def storage_class() -> tuple[str, Document]:
    """Return the API path and body of the default StorageClass, whose volumes are created in advance."""
    document = _object("storage.k8s.io/v1", "StorageClass", STORAGE_CLASS)
    document["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    document |= {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    return f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", document


def volume(number: int, folder: Path) -> Document:
    """Return a PersistentVolume backed by a directory of the host."""
    return {
        **_object("v1", "PersistentVolume", f"local-{number:02d}"),
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }


def gpus(count: int) -> tuple[str, Document]:
    """Return the API path and body of the node status patch that advertises simulated GPUs."""
    return f"/api/v1/nodes/{NODE}/status", {"status": {"capacity": {"nvidia.com/gpu": str(count)}}}


def _object(version: str, kind: str, name: str, namespace: str | None = None) -> Document:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _dns_role() -> Document:
    verbs = ["list", "watch"]
    return {
        **_object(f"{_RBAC}/v1", "ClusterRole", "system:coredns"),
        "rules": [
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": verbs},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
        ],
    }


def _dns_binding() -> Document:
    return {
        **_object(f"{_RBAC}/v1", "ClusterRoleBinding", "system:coredns"),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
    }


def _dns_deployment() -> Document:
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"containerPort": 53, "name": "dns", "protocol": "UDP"},
            {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 30},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    return {
        **_object("apps/v1", "Deployment", "coredns", "kube-system"),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _DNS_LABELS},
            "template": {"metadata": {"labels": _DNS_LABELS}, "spec": pod},
        },
    }


def _dns_service(plan: Plan) -> Document:
    return {
        **_object("v1", "Service", "kube-dns", "kube-system"),
        "spec": {
            "clusterIP": plan.dns,
            "selector": _DNS_LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }
