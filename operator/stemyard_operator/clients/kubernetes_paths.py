"""Paths of the API server's resources, and what RBAC calls a request."""

from typing import Final

from stemyard_contract.key_webhooks import PLURAL as KEY_WEBHOOKS
from stemyard_contract.separationjob import GROUP, PLURAL, VERSION

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def separations_path(namespace: str, name: str = "", part: str = "") -> str:
    """Return the path of the SeparationJobs of a namespace, of one, or of its subresource `part`."""
    return _path(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}", name, part)


def key_webhooks_path(namespace: str, name: str = "") -> str:
    """Return the path of the KeyWebhooks of a namespace, or of one."""
    return _path(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{KEY_WEBHOOKS}", name)


def jobs_path(namespace: str, name: str = "") -> str:
    """Return the path of the Jobs of a namespace, or of one."""
    return _path(f"/apis/batch/v1/namespaces/{namespace}/jobs", name)


def pods_path(namespace: str, name: str = "") -> str:
    """Return the path of the pods of a namespace, or of one."""
    return _path(f"/api/v1/namespaces/{namespace}/pods", name)


def workloads_path(version: str, namespace: str) -> str:
    """Return the path of the Workloads (Kueue) of a namespace."""
    return f"/apis/kueue.x-k8s.io/{version}/namespaces/{namespace}/workloads"


def leases_path(namespace: str, name: str = "") -> str:
    """Return the path of the Leases of a namespace, or of one."""
    return _path(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", name)


def _path(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def rbac_verb_and_resource(method: str, path: str) -> tuple[str, str]:
    """Return verb and resource of a request as in an RBAC rule: `("patch", "separationjobs/status")`."""
    _, parts = group_and_parts(path)
    named = len(parts) > 1
    verb = ("get" if named else "list") if method == "GET" else _VERBS[method]
    return verb, "/".join([parts[0], *parts[2:]])


def group_and_parts(path: str) -> tuple[str, list[str]]:
    """Return the API group of a path, empty for the core group, and its resource, name and subresource."""
    root, *parts = path.strip("/").split("/")
    group, parts = (parts[0], parts[2:]) if root == "apis" else ("", parts[1:])
    return group, parts[2:] if parts[0] == "namespaces" else parts
