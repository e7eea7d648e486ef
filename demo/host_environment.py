"""The environment in which the operator or the API runs outside the cluster, taken from an installed release."""

import secrets
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

Lookup = Callable[[str, str], Mapping[str, Any]]
"""Returns an object of the release's namespace as JSON by kind and name, an empty mapping if there is none."""

MODULES: Final = {"operator": "stemyard_operator", "api": "stemyard_api"}
DESK_PORT: Final = 8085

_REQUIRED: Final = ("STEMYARD_INSTALL_ID", "S3_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")


def of_release(part: str, deployment: Mapping[str, Any], lookup: Lookup, folder: Path) -> dict[str, str]:
    """Return the variables of the Deployment's container, with its ConfigMaps and Secrets resolved.

    Args:
        part: `operator` or `api`, the name of the container.
        deployment: the Deployment as JSON.
        lookup: reads the ConfigMaps and Secrets it refers to.
        folder: takes the files of mounted ConfigMaps and Secrets; paths in the variables are rewritten to it.
    """
    pod = deployment["spec"]["template"]["spec"]
    container = next(one for one in pod["containers"] if one["name"] == part)
    namespace = deployment["metadata"]["namespace"]
    values = {one["name"]: _value(one, lookup, namespace) for one in container["env"]}
    moved = dict(_mounted(pod, container, lookup, folder))
    return {name: _rewritten(value, moved) for name, value in values.items() if value}


def without_release(part: str, namespace: str) -> dict[str, str]:
    """Return defaults for a cluster where only the CRD is installed; the store's credentials have none."""
    shared = {
        "STEMYARD_INSTALL_ID": "dev",
        "REDIS_URL": "redis://127.0.0.1:6379/0",
        "S3_ENDPOINT_URL": "http://127.0.0.1:7070",
        "S3_REGION": "us-east-1",
    }
    if part == "api":
        return {**shared, "STEMYARD_NAMESPACE": namespace, "API_SECRET_KEY": secrets.token_urlsafe(24)}
    return {**shared, "POD_NAMESPACE": namespace}


def in_cluster(url: str) -> bool:
    """Return whether only pods can resolve the host of a URL."""
    return ".svc." in f"{urlsplit(url).hostname or ''}."


def with_reachable_store(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the store's public address where the other is known to pods only.

    Pods get links to `S3_ENDPOINT_URL`, so its host must be one that both this machine and pods can reach.
    """
    public = environment.get("S3_PUBLIC_ENDPOINT_URL", "")
    if in_cluster(environment.get("S3_ENDPOINT_URL", "")) and public:
        return {**environment, "S3_ENDPOINT_URL": public}
    return dict(environment)


def missing(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable without which neither part can work outside the cluster."""
    endpoint = environment.get("S3_ENDPOINT_URL", "")
    found = [f"{name} is not set" for name in _REQUIRED if not environment.get(name)]
    if in_cluster(endpoint):
        found.append(
            f"S3_ENDPOINT_URL is {endpoint}, which only pods can reach; set it to an address that this machine and "
            "the cluster's nodes can reach, such as http://<node>:<nodePort> of the Service of the store"
        )
    return found


def _value(variable: Mapping[str, Any], lookup: Lookup, namespace: str) -> str:
    source = variable.get("valueFrom", {})
    if reference := source.get("configMapKeyRef"):
        return str(lookup("configmap", reference["name"]).get("data", {}).get(reference["key"], ""))
    if reference := source.get("secretKeyRef"):
        return _files("secret", reference["name"], lookup).get(reference["key"], b"").decode()
    if source.get("fieldRef", {}).get("fieldPath") == "metadata.namespace":
        return namespace
    return str(variable.get("value", ""))


def _files(kind: str, name: str, lookup: Lookup) -> dict[str, bytes]:
    found = lookup(kind, name)
    data = found.get("data") or {}
    if kind == "secret":
        plain = {key: text.encode() for key, text in (found.get("stringData") or {}).items()}
        return {key: b64decode(text) for key, text in data.items()} | plain
    return {key: text.encode() for key, text in data.items()}


def _mounted(
    pod: Mapping[str, Any], container: Mapping[str, Any], lookup: Lookup, folder: Path
) -> Iterator[tuple[str, str]]:
    """Write the files of each mounted ConfigMap and Secret, and yield its path in the pod and on this machine."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            source, files = volume["configMap"], _files("configmap", volume["configMap"]["name"], lookup)
        elif "secret" in volume:
            source, files = volume["secret"], _files("secret", volume["secret"]["secretName"], lookup)
        else:
            continue
        items = source.get("items") or [{"key": key, "path": key} for key in files]
        target = folder / mount["name"]
        target.mkdir(mode=0o700)
        for item in items:
            if item["key"] in files:
                (target / item["path"]).write_bytes(files[item["key"]])
        yield mount["mountPath"], str(target)


def _rewritten(value: str, moved: Mapping[str, str]) -> str:
    for inside, outside in moved.items():
        value = value.replace(f"{inside}/", f"{outside}/") if value != inside else outside
    return value
