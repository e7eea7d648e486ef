"""Renderings: secrets as files instead of environment variables."""

from collections.abc import Mapping
from typing import Final

from tests.chart.rendered import RELEASE, Object
from tests.chart.rows import EXTERNAL, Row, pod, variable

FILES: Final[Object] = {"secrets": {"asFiles": True}}


def mounted(secret: str, *keys: str) -> Object:
    items = [{"key": key, "path": key} for key in keys]
    return pod(
        {
            "containers": [{"volumeMounts": [{"name": "secrets", "mountPath": "/etc/stemyard-secrets"}]}],
            "volumes": [
                {"name": "secrets", "projected": {"sources": [{"secret": {"name": secret, "items": items}}]}},
            ],
        }
    )


ROWS: Final[Mapping[str, Row]] = {
    "variables by default": Row(
        {},
        has={"Deployment api": variable("API_SECRET_KEY"), "Deployment operator": variable("REDIS_URL")},
        lacks={
            "Deployment api": pod({"volumes": [{"name": "secrets"}]}),
            "Deployment operator": variable("SECRETS_AS_FILES"),
        },
        base=EXTERNAL,
    ),
    "the API's own Secret": Row(
        FILES,
        has={
            "Deployment api": mounted(
                f"{RELEASE}-api", "API_SECRET_KEY", "SHARE_SECRET", "WEBHOOK_MASTER_SECRET", "SHARE_SECRET_PREVIOUS"
            )
        },
        base=EXTERNAL,
    ),
    "the bucket's": Row(
        FILES,
        has={
            "Deployment api": mounted("bucket", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"),
            "Deployment operator": mounted("bucket", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"),
        },
        base=EXTERNAL,
    ),
    "Valkey's": Row(FILES, has={"Deployment operator": mounted(f"{RELEASE}-redis", "REDIS_URL")}, base=EXTERNAL),
    "the operator gets no API key": Row(
        FILES, lacks={"Deployment operator": mounted(f"{RELEASE}-api", "API_SECRET_KEY")}, base=EXTERNAL
    ),
    "a missing key is named": Row(
        FILES,
        has={
            "Deployment operator": variable(
                "STEMYARD_SECRET_FILES",
                "/etc/stemyard-secrets/R2_ACCESS_KEY_ID=bucket,/etc/stemyard-secrets/R2_SECRET_ACCESS_KEY=bucket,"
                f"/etc/stemyard-secrets/REDIS_URL={RELEASE}-redis",
            )
        },
        base=EXTERNAL,
    ),
    "fetch pods get the proxy as a file": Row(
        FILES, has={"Deployment operator": variable("SECRETS_AS_FILES", "true")}, base=EXTERNAL
    ),
    "the Job that rebuilds": Row(
        {**FILES, "rebuild": {"enabled": True}, "install": {"id": "lost"}},
        has={"Job rebuild-1": mounted("bucket", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")},
        base=EXTERNAL,
    ),
    "helm test": Row(
        FILES,
        has={
            "Pod test": {
                "spec": {
                    "containers": [
                        {
                            "env": [{"name": "STEMYARD_API_KEY_FILE", "value": "/etc/stemyard-secrets/API_SECRET_KEY"}],
                            "volumeMounts": [{"name": "secrets"}],
                        }
                    ]
                }
            }
        },
        base=EXTERNAL,
    ),
    "without a key there is none to mount": Row(
        {**FILES, "api": {"insecureDev": True}},
        has={"Deployment api": mounted("bucket", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")},
        lacks={"Pod test": {"spec": {"volumes": [{"name": "secrets"}]}}},
        base=EXTERNAL,
    ),
    "the bundled store reads its environment only": Row(
        {**FILES, "store": {"enabled": True}},
        refused="secrets.asFiles=true, but the bundled store (store.enabled=true) reads its keys from its environment",
        base={},
    ),
    "a password in a value is a variable": Row(
        {**FILES, "webhooks": {"proxyUrl": "http://me:hunter2@proxy.example.com:3128"}},
        refused="secrets.asFiles=true, but webhooks.proxyUrl has a password",
        base=EXTERNAL,
    ),
    "the variable of the folder is the chart's": Row(
        {"api": {"extraEnv": [{"name": "STEMYARD_SECRETS_DIR", "value": "/x"}]}},
        refused="api.extraEnv sets STEMYARD_SECRETS_DIR, which secrets.asFiles sets",
        base=EXTERNAL,
    ),
}
