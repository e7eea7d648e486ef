"""Answers of an API server as errors; a missing right is named in plain words, with the rule that would give it."""

import json
import re
from typing import Any, Final

from stemyard_contract.separationjob import GROUP, PLURAL
from stemyard_kubectl.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    MissingError,
    NoDefinitionError,
    UnauthenticatedError,
    UnreachableError,
)

_RBAC: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
"""Kubernetes' authorizer: staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go."""
_SERVER_FAILED: Final = 500
_BY_STATUS: Final[dict[int, type[ClusterError]]] = {
    401: UnauthenticatedError,
    404: MissingError,
    408: UnreachableError,
    409: ConflictError,
    429: UnreachableError,
}


def refusal(status: int, body: bytes) -> ClusterError:
    """Return the error for a response that is no success, by the Status object that it should be."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    message = str(document.get("message") or f"The API server answered {status}.") if isinstance(document, dict) else ""
    if status == 403:
        return ForbiddenError(_forbidden(message))
    if status == 401:
        return UnauthenticatedError(
            "The API server does not know you: the kubeconfig's credentials are wrong or expired."
        )
    if status == 404 and _names_no_object(document):
        return NoDefinitionError(
            f"This cluster has no {PLURAL}.{GROUP}: install the chart's CRDs (docs/07-install.md)."
        )
    kind = _BY_STATUS.get(status, UnreachableError if status >= _SERVER_FAILED else InvalidError)
    return kind(message)


def _names_no_object(document: Any) -> bool:  # noqa: ANN401 - any JSON
    """Return whether a 404 is about the path, as it is without the CRD, and not about a name."""
    return isinstance(document, dict) and not (document.get("details") or {}).get("name")


def _forbidden(message: str) -> str:
    found = _RBAC.search(message)
    if found is None:
        return message
    where = f"in the namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
    kind = "Role" if found["namespace"] else "ClusterRole"
    group = json.dumps(found["group"])
    return (
        f"You ({found['user']}) may not {found['verb']} {found['resource']} {where}.\n"
        f"Ask for a {kind} with the rule "
        f"{{apiGroups: [{group}], resources: [{json.dumps(found['resource'])}], verbs: [{found['verb']}]}}."
    )
