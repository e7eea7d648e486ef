"""Renderings: TLS to the desk, the bundled Valkey and the bundled store."""

from collections.abc import Mapping
from typing import Any, Final

from charts.helm import merge
from tests.chart.rendered import NAMESPACE, RELEASE, Object
from tests.chart.rows import Row, container, pod, variable

HOST: Final = f"{RELEASE}-{{}}.{NAMESPACE}.svc.cluster.local"
BUNDLED: Final[Object] = {"store": {"enabled": True}}
PEM: Final = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
OWN_CA: Final = {"issuerRef": {"name": f"{RELEASE}-ca", "kind": "Issuer", "group": "cert-manager.io"}}


def tls(**values: Any) -> Object:
    return {"tls": values}


def given(*parts: str, **more: Any) -> Object:
    """TLS of these parts with the deployer's Secrets."""
    return tls(**{part: {"enabled": True, "existingSecret": f"{part}-cert"} for part in parts}, **more)


def made(*parts: str, **manager: Any) -> Object:
    """TLS of these parts with cert-manager's."""
    return tls(**{part: {"enabled": True} for part in parts}, certManager={"enabled": True, **manager})


def mounted(part: str, folder: str) -> Object:
    """The fragment of a Deployment with this part's certificate and key, without the CA's item."""
    items = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]
    return pod(
        {
            "containers": [{"volumeMounts": [{"name": "tls", "mountPath": folder, "readOnly": True}]}],
            "volumes": [{"name": "tls", "secret": {"secretName": f"{part}-cert", "items": items}}],
        }
    )


def trusted(*sources: Object) -> Object:
    return pod(
        {
            "containers": [{"volumeMounts": [{"name": "stemyard-ca", "mountPath": "/etc/stemyard-ca"}]}],
            "volumes": [{"name": "stemyard-ca", "projected": {"sources": list(sources)}}],
        }
    )


def of_secret(part: str) -> Object:
    return {"secret": {"name": f"{part}-cert", "items": [{"key": "ca.crt", "path": f"{part}/ca.crt"}]}}


ROWS: Final[Mapping[str, Row]] = {
    "off by default": Row(
        BUNDLED,
        has={
            "Deployment operator": variable("DESK_URL", f"http://{HOST.format('desk')}:8085"),
            "Deployment api": variable("S3_ENDPOINT_URL", f"http://{HOST.format('store')}:7070"),
        },
        lacks={
            "Deployment operator": variable("DESK_TLS_DIR"),
            "Deployment api": pod({"volumes": [{"name": "stemyard-ca"}]}),
            "Deployment valkey": pod({"volumes": [{"name": "tls"}]}),
            "Certificate desk": None,
        },
        base={},
    ),
    "desk: served by TLS": Row(
        given("desk"),
        has={
            "Deployment operator": merge(
                mounted("desk", "/etc/stemyard-desk-tls"),
                container({"env": [{"name": "DESK_TLS_DIR", "value": "/etc/stemyard-desk-tls"}]}),
            ),
        },
    ),
    "desk: separators are given its address": Row(
        given("desk"), has={"Deployment operator": variable("DESK_URL", f"https://{HOST.format('desk')}:8085")}
    ),
    "desk: a missing key of its Secret is named": Row(
        given("desk"),
        has={
            "Deployment operator": variable(
                "STEMYARD_SECRET_FILES",
                "/etc/stemyard-desk-tls/tls.crt=desk-cert,/etc/stemyard-desk-tls/tls.key=desk-cert",
            )
        },
    ),
    "desk: separators get the CA's key of its Secret": Row(
        given("desk"), has={"Deployment operator": variable("SEPARATOR_CA_SECRETS", "desk-cert")}
    ),
    "desk: nobody else needs its CA": Row(
        given("desk"), lacks={"Deployment api": pod({"volumes": [{"name": "stemyard-ca"}]})}
    ),
    "valkey: listens by TLS only": Row(
        given("valkey"),
        has={
            "ConfigMap valkey": {
                "data": {
                    "valkey.conf": "port 0\ntls-port 6379\ntls-cert-file /etc/valkey-tls/tls.crt\n"
                    "tls-key-file /etc/valkey-tls/tls.key\ntls-auth-clients no\n"
                    "protected-mode no\naclfile /etc/valkey-users/users.acl\ndir /data\n"
                    "maxmemory 128mb\nmaxmemory-policy volatile-lru\nappendonly yes\n"
                }
            },
            "Deployment valkey": mounted("valkey", "/etc/valkey-tls"),
        },
    ),
    "valkey: the URL says so": Row(
        given("valkey"),
        has={
            "Secret redis": {
                "stringData": {"REDIS_URL": f"rediss://stemyard:0123456789abcdef@{HOST.format('valkey')}:6379/0"}
            }
        },
    ),
    "valkey: the API verifies it": Row(
        given("valkey"),
        has={
            "Deployment api": merge(
                trusted(of_secret("valkey")),
                container({"env": [{"name": "REDIS_CA_FILE", "value": "/etc/stemyard-ca/valkey/ca.crt"}]}),
            )
        },
    ),
    "valkey: so does the operator": Row(
        given("valkey"),
        has={"Deployment operator": variable("REDIS_CA_FILE", "/etc/stemyard-ca/valkey/ca.crt")},
        lacks={"Deployment operator": variable("SEPARATOR_CA_SECRETS")},
    ),
    "store: listens by TLS only": Row(
        {**given("store"), **BUNDLED},
        has={
            "Deployment store": merge(
                mounted("store", "/etc/store-tls"),
                container(
                    {
                        "args": ["--cert", "/etc/store-tls/tls.crt", "--key", "/etc/store-tls/tls.key"],
                        "readinessProbe": {"httpGet": {"scheme": "HTTPS"}},
                        "livenessProbe": {"httpGet": {"scheme": "HTTPS"}},
                        "startupProbe": {"httpGet": {"scheme": "HTTPS"}},
                    }
                ),
            )
        },
        base={},
    ),
    "store: the operator and separators verify it": Row(
        {**given("store"), **BUNDLED},
        has={
            "Deployment operator": merge(
                trusted(of_secret("store")),
                container(
                    {
                        "env": [
                            {"name": "S3_CA_FILE", "value": "/etc/stemyard-ca/store/ca.crt"},
                            {"name": "S3_ENDPOINT_URL", "value": f"https://{HOST.format('store')}:7070"},
                            {"name": "SEPARATOR_CA_SECRETS", "value": "store-cert"},
                        ]
                    }
                ),
            )
        },
        base={},
    ),
    "store: helm test verifies it": Row(
        {**given("store"), **BUNDLED},
        has={
            "Pod test": trusted(of_secret("store"))["spec"]["template"]
            | {
                "spec": {
                    "containers": [{"env": [{"name": "CA_FILE", "value": "/etc/stemyard-ca/store/ca.crt"}]}],
                    "volumes": [{"name": "stemyard-ca"}],
                }
            }
        },
        base={},
    ),
    "store: the Job that rebuilds verifies it": Row(
        {**given("store", "valkey"), **BUNDLED, "rebuild": {"enabled": True}, "install": {"id": "lost"}},
        has={"Job rebuild-1": trusted(of_secret("store"), of_secret("valkey"))},
        base={},
    ),
    "one CA for all, as a value": Row(
        {**given("desk", "store", "valkey", ca=PEM), **BUNDLED, "watchNamespaces": ["team-a", NAMESPACE]},
        has={
            "ConfigMap ca": {"metadata": {"namespace": "team-a"}, "data": {"ca.crt": PEM.strip()}},
            "Deployment api": trusted(
                {"configMap": {"name": f"{RELEASE}-ca", "items": [{"key": "ca.crt", "path": "store/ca.crt"}]}},
                {"configMap": {"name": f"{RELEASE}-ca", "items": [{"key": "ca.crt", "path": "valkey/ca.crt"}]}},
            ),
            "Deployment operator": variable("SEPARATOR_CA_CONFIG_MAP", f"{RELEASE}-ca"),
        },
        lacks={"Deployment operator": variable("SEPARATOR_CA_SECRETS")},
        base={},
    ),
    "one CA for all, in every namespace by trust-manager": Row(
        {**given("desk", caConfigMap="bundle"), "watchNamespaces": ["team-a", NAMESPACE]},
        has={"Deployment operator": variable("SEPARATOR_CA_CONFIG_MAP", "bundle")},
        lacks={"ConfigMap ca": None},
    ),
    "cert-manager: a CA of this installation": Row(
        made("desk"),
        has={
            "Issuer self-signed": {"spec": {"selfSigned": {}}},
            "Certificate ca": {"spec": {"isCA": True, "secretName": f"{RELEASE}-ca"}},
            "Issuer ca": {"spec": {"ca": {"secretName": f"{RELEASE}-ca"}}},
            "Certificate desk": {
                "spec": {
                    "secretName": f"{RELEASE}-desk-tls",
                    "dnsNames": [f"{RELEASE}-desk.{NAMESPACE}.svc", HOST.format("desk")],
                    "usages": ["server auth"],
                    **OWN_CA,
                }
            },
            "Deployment operator": variable("SEPARATOR_CA_SECRETS", f"{RELEASE}-desk-tls"),
        },
        lacks={"Certificate valkey": None, "Certificate store": None},
    ),
    "cert-manager: an issuer of the cluster's": Row(
        made("desk", "valkey", issuerRef={"name": "internal", "kind": "ClusterIssuer"}),
        has={
            "Certificate valkey": {
                "spec": {"issuerRef": {"name": "internal", "kind": "ClusterIssuer", "group": "cert-manager.io"}}
            }
        },
        lacks={"Issuer ca": None, "Certificate ca": None},
    ),
    "cert-manager: the store's address for clients, a name": Row(
        {**made("store"), **BUNDLED, "objectStore": {"publicEndpoint": "https://stems.example.com:30900"}},
        has={"Certificate store": {"spec": {"dnsNames": ["stems.example.com", HOST.format("store")]}}},
        base={},
    ),
    "cert-manager: the store's address for clients, an IP address": Row(
        {**made("store"), **BUNDLED, "objectStore": {"publicEndpoint": "https://192.0.2.7:30900"}},
        has={"Certificate store": {"spec": {"ipAddresses": ["192.0.2.7"]}}},
        lacks={"Certificate store": {"spec": {"dnsNames": ["192.0.2.7"]}}},
        base={},
    ),
    "no certificate": Row(
        tls(desk={"enabled": True}),
        refused="tls.desk.enabled=true, but there is no certificate; set tls.desk.existingSecret",
    ),
    "a certificate that is not used": Row(
        tls(valkey={"existingSecret": "cert"}),
        refused="tls.valkey.existingSecret is set, but tls.valkey.enabled=false",
    ),
    "TLS of a store that is not bundled": Row(
        given("store"), refused="tls.store.enabled=true is for the bundled one, but store.enabled=false"
    ),
    "TLS of a Valkey that is not bundled": Row(
        {**given("valkey"), "valkey": {"enabled": False}, "redis": {"url": "rediss://redis.example.com"}},
        refused="tls.valkey.enabled=true is for the bundled one, but valkey.enabled=false",
    ),
    "two CAs": Row(given("desk", ca=PEM, caConfigMap="bundle"), refused="tls.ca and tls.caConfigMap are both set"),
    "a CA that is not used": Row(tls(caConfigMap="bundle"), refused="tls.caConfigMap is set, but tls.desk.enabled"),
    "a CA that is none": Row(given("desk", ca="ca.crt"), refused="at '/tls/ca'"),
    "a CA beside that of the chart": Row(
        tls(desk={"enabled": True}, certManager={"enabled": True}, ca=PEM),
        refused="tls.ca is set, but tls.certManager.issuerRef is empty, so the chart creates another CA",
    ),
    "cert-manager without anything to do": Row(
        {**given("desk", certManager={"enabled": True})},
        refused="tls.certManager.enabled=true, but every part has an existingSecret or is disabled",
    ),
    "an issuer that is not used": Row(
        given("desk", certManager={"issuerRef": {"name": "internal"}}),
        refused="tls.certManager.issuerRef is set, but tls.certManager.enabled=false",
    ),
    "a renewal before the beginning": Row(
        made("desk", duration="24h", renewBefore="24h"),
        refused="tls.certManager.renewBefore 24h is not less than tls.certManager.duration 24h",
    ),
    "separators that cannot read the CA": Row(
        {**given("desk"), "watchNamespaces": ["team-a", NAMESPACE]},
        refused='separators in the namespace "team-a" cannot read the CA from the Secret of a certificate',
    ),
    "the variable of the certificate is the chart's": Row(
        {"operator": {"extraEnv": [{"name": "DESK_TLS_DIR", "value": "/x"}]}},
        refused="operator.extraEnv sets DESK_TLS_DIR, which tls.desk.enabled sets",
    ),
    "so is the volume of the CAs": Row(
        {"api": {"extraVolumes": [{"name": "stemyard-ca", "emptyDir": {}}]}},
        refused='api.extraVolumes has a volume named "stemyard-ca"',
    ),
}
