"""Renderings: the object store's credentials, by keys or by workload identity."""

from collections.abc import Mapping
from typing import Final

from tests.chart.rendered import Object
from tests.chart.rows import EXTERNAL, Row, container, egress, pod, variable

ROLE: Final = "arn:aws:iam::123456789012:role/stemyard"
AWS: Final[Object] = {"objectStore": {"endpoint": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1"}}
EKS: Final = {"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": ROLE}}
TOKEN: Final = {
    "name": "store-token",
    "projected": {
        "sources": [{"serviceAccountToken": {"audience": "sts.amazonaws.com", "expirationSeconds": 3600}}],
    },
}


def identity(**values: object) -> Object:
    return {"objectStore": {"workloadIdentity": {"enabled": True, **values}}}


ROWS: Final[Mapping[str, Row]] = {
    "keys of a Secret are variables of both": Row(
        {},
        has={
            "Deployment api": variable("R2_ACCESS_KEY_ID"),
            "Deployment operator": variable("R2_SECRET_ACCESS_KEY"),
        },
        lacks={"Deployment api": variable("S3_WORKLOAD_IDENTITY"), "Secret object-store": None},
        base=EXTERNAL,
    ),
    "EKS: annotations of both are enough": Row(
        {"api": EKS, "operator": EKS},
        has={
            "ServiceAccount api": {"metadata": {"annotations": EKS["serviceAccountAnnotations"]}},
            "ServiceAccount operator": {"metadata": {"annotations": EKS["serviceAccountAnnotations"]}},
            "Deployment api": variable("S3_WORKLOAD_IDENTITY", "true"),
        },
        lacks={
            "Deployment api": variable("R2_ACCESS_KEY_ID"),
            "Deployment operator": variable("R2_SECRET_ACCESS_KEY"),
            "Secret object-store": None,
        },
        base=AWS,
    ),
    "EKS: no token of the chart's own beside the cloud's": Row(
        {"api": EKS, "operator": EKS},
        lacks={"Deployment api": pod({"volumes": [TOKEN]}), "Deployment operator": variable("AWS_ROLE_ARN")},
        base=AWS,
    ),
    "EKS: keys take precedence over annotations": Row(
        {"api": EKS, "operator": EKS},
        has={"Deployment api": variable("R2_ACCESS_KEY_ID")},
        lacks={"Deployment api": variable("S3_WORKLOAD_IDENTITY")},
        base=EXTERNAL,
    ),
    "EKS Pod Identity: the agent of the node may be asked": Row(
        identity(),
        has={
            "NetworkPolicy operator": egress(
                {"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}], "ports": [{"port": 80, "protocol": "TCP"}]}
            )
        },
        lacks={"Deployment operator": variable("AWS_ROLE_ARN")},
        base=AWS,
    ),
    "any cluster: a role is assumed by a projected token, in the operator": Row(
        identity(roleArn=ROLE),
        has={
            "Deployment operator": {
                **pod(
                    {
                        "containers": [
                            {
                                "env": [
                                    {"name": "AWS_ROLE_ARN", "value": ROLE},
                                    {
                                        "name": "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "value": "/var/run/secrets/stemyard-store/token",
                                    },
                                ],
                                "volumeMounts": [
                                    {"name": "store-token", "mountPath": "/var/run/secrets/stemyard-store"}
                                ],
                            }
                        ],
                        "volumes": [TOKEN],
                    }
                )
            }
        },
        base=AWS,
    ),
    "any cluster: the same in the API": Row(
        identity(roleArn=ROLE),
        has={"Deployment api": pod({"containers": [{"env": [{"name": "AWS_ROLE_ARN"}]}], "volumes": [TOKEN]})},
        base=AWS,
    ),
    "any cluster: the same in the Job that rebuilds": Row(
        {**identity(roleArn=ROLE), "rebuild": {"enabled": True}, "install": {"id": "lost"}},
        has={
            "Job rebuild-1": pod({"containers": [{"env": [{"name": "AWS_ROLE_ARN"}]}], "volumes": [TOKEN]}),
            "NetworkPolicy rebuild": egress({"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}]}),
        },
        base=AWS,
    ),
    "the Job that rebuilds has the operator's role": Row(
        {"api": EKS, "operator": EKS, "rebuild": {"enabled": True}, "install": {"id": "lost"}},
        has={"ServiceAccount rebuild": {"metadata": {"annotations": EKS["serviceAccountAnnotations"]}}},
        base=AWS,
    ),
    "MinIO: its own token service, audience and duration": Row(
        {
            "objectStore": {
                "endpoint": "http://minio.storage.svc:9000",
                "region": "us-east-1",
                "egressCIDRs": ["10.0.0.0/8"],
                "workloadIdentity": {
                    "enabled": True,
                    "roleArn": "arn:minio:iam:::role/abc",
                    "audience": "minio",
                    "tokenExpirationSeconds": 86400,
                    "stsEndpoint": "https://sts.storage.svc:9443/",
                },
            }
        },
        has={
            "Deployment api": {
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [
                                {"env": [{"name": "AWS_ENDPOINT_URL_STS", "value": "https://sts.storage.svc:9443"}]}
                            ],
                            "volumes": [
                                {
                                    "projected": {
                                        "sources": [
                                            {"serviceAccountToken": {"audience": "minio", "expirationSeconds": 86400}}
                                        ]
                                    }
                                }
                            ],
                        }
                    }
                }
            },
            "NetworkPolicy api": egress({"ports": [{"port": 9443, "protocol": "TCP"}]}),
        },
        base={},
    ),
    "separators hold no token for the store": Row(
        identity(roleArn=ROLE),
        lacks={"ServiceAccount separator": {"metadata": {"annotations": {}}}},
        base=AWS,
    ),
    "the pod of helm test holds none either": Row(
        identity(roleArn=ROLE), lacks={"Pod test": {"spec": {"volumes": [TOKEN]}}}, base=AWS
    ),
    "the bundled store knows keys only": Row(
        {**identity(), "store": {"enabled": True}},
        refused="objectStore.workloadIdentity.enabled=true is for an external store, but store.enabled=true",
        base={},
    ),
    "keys and an identity": Row(
        identity(),
        refused="objectStore.workloadIdentity.enabled=true, but objectStore.existingSecret or objectStore.accessKeyId",
        base=EXTERNAL,
    ),
    "R2 has no workload identity": Row(
        {"objectStore": {"cloudflareAccountId": "abc123", "region": "auto", "workloadIdentity": {"enabled": True}}},
        refused="objectStore.cloudflareAccountId names an R2 bucket, and R2 has no workload identity",
        base={},
    ),
    "an identity is for one region": Row(
        {"objectStore": {"endpoint": "https://s3.eu-west-1.amazonaws.com", "workloadIdentity": {"enabled": True}}},
        refused="objectStore.region is empty",
        base={},
    ),
    "a role that is not used": Row(
        {"objectStore": {"workloadIdentity": {"roleArn": ROLE}}},
        refused="objectStore.workloadIdentity.roleArn is set, but objectStore.workloadIdentity.enabled=false",
        base=EXTERNAL,
    ),
    "a token service that is not used": Row(
        {"objectStore": {"workloadIdentity": {"stsEndpoint": "https://sts.example.com"}}},
        refused="objectStore.workloadIdentity.stsEndpoint is set, but objectStore.workloadIdentity.enabled=false",
        base=EXTERNAL,
    ),
    "EKS: only the API is annotated": Row(
        {"api": EKS},
        refused="operator.serviceAccountAnnotations lacks eks.amazonaws.com/role-arn, which api.serviceAccount",
        base=AWS,
    ),
    "EKS: only the operator is annotated": Row(
        {"operator": EKS},
        refused="api.serviceAccountAnnotations lacks eks.amazonaws.com/role-arn, which operator.serviceAccount",
        base=AWS,
    ),
    "GKE: its annotation brings no S3 credentials": Row(
        {"api": {"serviceAccountAnnotations": {"iam.gke.io/gcp-service-account": "stemyard@example.iam"}}},
        refused="api.serviceAccountAnnotations has iam.gke.io/gcp-service-account, which brings no credentials for S3",
        base=AWS,
    ),
    "Azure: neither does its": Row(
        {"operator": {"serviceAccountAnnotations": {"azure.workload.identity/client-id": "0"}}},
        refused="operator.serviceAccountAnnotations has azure.workload.identity/client-id, which brings no credentials",
        base=AWS,
    ),
    "neither keys nor an identity": Row(
        {}, refused="no credentials for the object store: set objectStore.existingSecret", base=AWS
    ),
    "a role is an ARN": Row(identity(roleArn="stemyard"), refused="roleArn", base=AWS),
    "a token is valid for ten minutes at least": Row(
        identity(tokenExpirationSeconds=60), refused="tokenExpirationSeconds", base=AWS
    ),
    "the variable of the role is the chart's": Row(
        {"api": {"extraEnv": [{"name": "AWS_ROLE_ARN", "value": ROLE}]}},
        refused="api.extraEnv sets AWS_ROLE_ARN, which objectStore.workloadIdentity.roleArn sets",
        base=EXTERNAL,
    ),
    "so is the volume of the token": Row(
        {"operator": {"extraVolumes": [{"name": "store-token", "emptyDir": {}}]}},
        refused='operator.extraVolumes has a volume named "store-token"',
        base=EXTERNAL,
    ),
    "other variables of the chain may be added": Row(
        {**identity(), "api": {"extraEnv": [{"name": "AWS_PROFILE", "value": "stems"}]}},
        has={"Deployment api": container({"env": [{"name": "AWS_PROFILE", "value": "stems"}]})},
        base=AWS,
    ),
}
