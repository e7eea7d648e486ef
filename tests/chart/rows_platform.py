"""Renderings: OpenShift, meshes, existing ServiceAccounts, Services and Ingresses."""

import json
from collections.abc import Mapping
from typing import Final

from tests.chart.rendered import NAMESPACE, Object
from tests.chart.rows import EXTERNAL, Row, pod, variable

LEFT: Final[Object] = {"podSecurity": {"user": None}}
OWN: Final[Object] = {
    "api": {"serviceAccountName": "stemyard-api"},
    "operator": {"serviceAccountName": "stemyard-operator"},
    "separator": {"serviceAccountName": "stemyard-separator"},
}


def service(part: str, **fields: object) -> Object:
    return {part: {"service": fields}}


def subject(name: str) -> Object:
    return {"subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]}


def told(**context: object) -> Object:
    return variable("POD_SECURITY_CONTEXT", json.dumps(context, sort_keys=True, separators=(",", ":")))


RESTRICTED: Final[Mapping[str, object]] = {
    "fsGroupChangePolicy": "OnRootMismatch",
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
IDS: Final = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}

ROWS: Final[Mapping[str, Row]] = {
    "every pod has a user of its own": Row(
        {},
        has={
            "Deployment api": pod({"securityContext": {**RESTRICTED, **IDS}}),
            "Deployment operator": told(**RESTRICTED, **IDS),
        },
    ),
    "OpenShift: the platform chooses the user of the chart's pods": Row(
        LEFT,
        has={"Deployment api": pod({"securityContext": RESTRICTED})},
        lacks={
            "Deployment api": pod({"securityContext": {"runAsUser": 65532}}),
            "Deployment operator": pod({"securityContext": {"fsGroup": 65532}}),
            "Deployment valkey": pod({"securityContext": {"runAsGroup": 65532}}),
        },
    ),
    "OpenShift: and of separations": Row(LEFT, has={"Deployment operator": told(**RESTRICTED)}),
    "OpenShift: of helm test": Row(LEFT, lacks={"Pod test": {"spec": {"securityContext": {"runAsUser": 65532}}}}),
    "OpenShift: of the pre-puller": Row(
        {**LEFT, "prePull": {"enabled": True}},
        has={"DaemonSet prepull": pod({"securityContext": RESTRICTED})},
        lacks={"DaemonSet prepull": pod({"securityContext": {"runAsUser": 65532}})},
    ),
    "OpenShift: of the bundled store": Row(
        {**LEFT, "store": {"enabled": True}},
        has={"Deployment store": pod({"securityContext": RESTRICTED})},
        lacks={"Deployment store": pod({"securityContext": {"fsGroup": 65532}})},
        base={},
    ),
    "another user": Row(
        {"podSecurity": {"user": 1000}},
        has={
            "Deployment api": pod({"securityContext": {"runAsUser": 1000, "fsGroup": 1000}}),
            "Deployment operator": told(**RESTRICTED, runAsUser=1000, runAsGroup=1000, fsGroup=1000),
        },
    ),
    "a large user id is not written as a fraction": Row(
        {"podSecurity": {"user": 1000690000}},
        has={"Deployment api": pod({"securityContext": {"runAsUser": 1000690000}})},
    ),
    "SELinux labels and a profile of the node": Row(
        {
            "podSecurity": {
                "context": {
                    "seLinuxOptions": {"level": "s0:c123,c456"},
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "audio.json"},
                }
            }
        },
        has={
            "Deployment api": pod(
                {
                    "securityContext": {
                        "seLinuxOptions": {"level": "s0:c123,c456"},
                        "seccompProfile": {"type": "Localhost"},
                        "runAsNonRoot": True,
                    }
                }
            )
        },
    ),
    "root is refused": Row({"podSecurity": {"user": 0}}, refused="user"),
    "so is whatever lets root in": Row({"podSecurity": {"context": {"runAsNonRoot": False}}}, refused="runAsNonRoot"),
    "a pod without a seccomp profile is refused": Row(
        {"podSecurity": {"context": {"seccompProfile": {"type": "Unconfined"}}}}, refused="seccompProfile"
    ),
    "hostUsers is left to the cluster": Row({}, lacks={"Deployment operator": variable("FETCH_HOST_USERS")}),
    "fetch has user namespaces": Row(
        {"fetch": {"hostUsers": False}}, has={"Deployment operator": variable("FETCH_HOST_USERS", "false")}
    ),
    "fetch is never given the host's users": Row({"fetch": {"hostUsers": True}}, refused="hostUsers"),
    "meshes: separators have no sidecar": Row(
        {},
        has={
            "Deployment operator": variable("SEPARATOR_POD_LABELS", '{"sidecar.istio.io/inject":"false"}'),
        },
    ),
    "meshes: nor Linkerd's proxy": Row(
        {}, has={"Deployment operator": variable("SEPARATOR_POD_ANNOTATIONS", '{"linkerd.io/inject":"disabled"}')}
    ),
    "meshes: the ambient one of Istio": Row(
        {"separator": {"podLabels": {"istio.io/dataplane-mode": "none"}}},
        has={
            "Deployment operator": variable(
                "SEPARATOR_POD_LABELS", '{"istio.io/dataplane-mode":"none","sidecar.istio.io/inject":"false"}'
            )
        },
    ),
    "a separator's own label is refused": Row(
        {"separator": {"podLabels": {"stemyard.dev/stage": "fetch"}}},
        refused="separator.podLabels sets stemyard.dev/stage, which Stemyard or Kubernetes sets",
    ),
    "existing ServiceAccounts are used": Row(
        OWN,
        has={
            "Deployment api": pod({"serviceAccountName": "stemyard-api"}),
            "Deployment operator": pod({"serviceAccountName": "stemyard-operator"}),
        },
        lacks={"ServiceAccount api": None, "ServiceAccount operator": None, "ServiceAccount separator": None},
    ),
    "existing ServiceAccounts have the rights": Row(
        OWN,
        has={
            "RoleBinding api": subject("stemyard-api"),
            "RoleBinding operator": subject("stemyard-operator"),
            "RoleBinding operator-lease": subject("stemyard-operator"),
            "ClusterRoleBinding songs-tunes-operator-desk": subject("stemyard-operator"),
        },
        lacks={"RoleBinding api": subject("tunes-api"), "RoleBinding operator": subject("tunes-operator")},
    ),
    "separations run as the existing one": Row(
        OWN, has={"Deployment operator": variable("SEPARATOR_SERVICE_ACCOUNT", "stemyard-separator")}
    ),
    "admission knows the existing ServiceAccount of the API": Row(
        OWN,
        has={
            "ValidatingAdmissionPolicy songs-tunes-ownership": {
                "spec": {
                    "matchConditions": [
                        {
                            "expression": '!(request.userInfo.username in ["system:serviceaccount:songs:stemyard-api",'
                            '"system:serviceaccount:songs:stemyard-operator",'
                            '"system:serviceaccount:songs:tunes-rebuild"])'
                        }
                    ]
                }
            }
        },
    ),
    "the Job that rebuilds may have an existing one": Row(
        {"rebuild": {"enabled": True, "serviceAccountName": "restorer"}, "install": {"id": "lost"}},
        has={
            "Job rebuild-1": pod({"serviceAccountName": "restorer"}),
            "RoleBinding rebuild": subject("restorer"),
        },
        lacks={"ServiceAccount rebuild": None},
    ),
    "annotations of a ServiceAccount that is not the chart's": Row(
        {"api": {"serviceAccountName": "stemyard-api", "serviceAccountAnnotations": {"example.com/role": "x"}}},
        refused="api.serviceAccountAnnotations are for the chart's own ServiceAccount, but api.serviceAccountName",
    ),
    "one ServiceAccount for two parts": Row(
        {"api": {"serviceAccountName": "stemyard"}, "operator": {"serviceAccountName": "stemyard"}},
        refused='api.serviceAccountName and operator.serviceAccountName are both "stemyard"',
    ),
    "one ServiceAccount for the API and separators": Row(
        {"api": {"serviceAccountName": "stemyard"}, "separator": {"serviceAccountName": "stemyard"}},
        refused='api.serviceAccountName and separator.serviceAccountName are both "stemyard"',
    ),
    "a name that no ServiceAccount has": Row({"api": {"serviceAccountName": "Not A Name"}}, refused="serviceAccount"),
    "a load balancer lets some clients through": Row(
        service("api", type="LoadBalancer", loadBalancerSourceRanges=["203.0.113.0/24"]),
        has={"Service api": {"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"]}}},
    ),
    "so does the bundled store's": Row(
        {"store": {"enabled": True, "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
        has={"Service store": {"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
        base={},
    ),
    "ranges without a load balancer": Row(
        service("api", loadBalancerSourceRanges=["203.0.113.0/24"]),
        refused="api.service.loadBalancerSourceRanges is for api.service.type LoadBalancer, but it is ClusterIP",
    ),
    "ranges of the store without a load balancer": Row(
        {"store": {"enabled": True, "service": {"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
        refused="store.service.loadBalancerSourceRanges is for store.service.type LoadBalancer, but it is NodePort",
        base={},
    ),
    "a range is a CIDR": Row(
        service("api", type="LoadBalancer", loadBalancerSourceRanges=["203.0.113.7"]),
        refused="loadBalancerSourceRanges",
    ),
    "both IP families, this one first": Row(
        service("api", ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"]),
        has={"Service api": {"spec": {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4"]}}},
    ),
    "the cluster's IP family": Row(
        {},
        lacks={"Service api": {"spec": {"ipFamilyPolicy": ""}}},
        has={"Service api": {"spec": {"type": "ClusterIP"}}},
    ),
    "two families in one stack": Row(
        service("api", ipFamilyPolicy="SingleStack", ipFamilies=["IPv6", "IPv4"]),
        refused="api.service.ipFamilies has two families, but api.service.ipFamilyPolicy is SingleStack",
    ),
    "two families without a policy": Row(
        service("api", ipFamilies=["IPv6", "IPv4"]),
        refused="api.service.ipFamilies has two families, but api.service.ipFamilyPolicy is empty",
    ),
    "no such policy": Row(service("api", ipFamilyPolicy="Dual"), refused="ipFamilyPolicy"),
    "an Ingress below a path": Row(
        {
            "api": {
                "ingress": {
                    "enabled": True,
                    "hosts": ["tools.example.com"],
                    "path": "/stemyard(/|$)(.*)",
                    "pathType": "ImplementationSpecific",
                    "annotations": {"nginx.ingress.kubernetes.io/rewrite-target": "/$2"},
                }
            }
        },
        has={
            "Ingress api": {
                "spec": {
                    "rules": [
                        {"http": {"paths": [{"path": "/stemyard(/|$)(.*)", "pathType": "ImplementationSpecific"}]}}
                    ]
                }
            }
        },
    ),
    "an Ingress of every path": Row(
        {"api": {"ingress": {"enabled": True, "hosts": ["songs.example.com"]}}},
        has={"Ingress api": {"spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix"}]}}]}}},
    ),
    "a path begins with a slash": Row(
        {"api": {"ingress": {"enabled": True, "hosts": ["songs.example.com"], "path": "stemyard"}}}, refused="path"
    ),
    "the store's path is signed, so it has none": Row(
        {"store": {"enabled": True, "ingress": {"enabled": True, "hosts": ["s.example.com"], "path": "/s"}}},
        refused="path",
        base={},
    ),
    "workload identity by an existing ServiceAccount": Row(
        {
            **OWN,
            "objectStore": {"existingSecret": "", "workloadIdentity": {"enabled": True}},
        },
        has={"Deployment api": variable("S3_WORKLOAD_IDENTITY", "true")},
        lacks={"Deployment api": variable("R2_ACCESS_KEY_ID")},
        base=EXTERNAL,
    ),
}
