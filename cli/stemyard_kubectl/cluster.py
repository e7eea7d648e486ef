"""Calls of the API server: raw JSON, each with a timeout. The only importer of the kubernetes package's client."""

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException

from stemyard_contract.separationjob import GROUP, PLURAL, VERSION
from stemyard_kubectl.errors import UnreachableError
from stemyard_kubectl.kubeconfig import Choice, connection
from stemyard_kubectl.refusals import refusal

FIELD_MANAGER: Final = "kubectl-stemyard"
_TIMEOUT: Final = (10.0, 30.0)
"""Seconds to connect, and to read."""
_FOLLOW_TIMEOUT: Final = (10.0, 3600.0)
"""Of a log that is followed: a song may be silent for long."""
_PAGE: Final = 500
_MERGE: Final = "application/merge-patch+json"
_PATCH: Final = "application/json-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_SUCCESS: Final = range(200, 300)
Json = dict[str, Any]


class Cluster:
    """A connection to an API server; a context manager.

    Attributes:
        namespace: the namespace that commands are about.
    """

    def __init__(self, configuration: Configuration, namespace: str) -> None:
        self._client, self.namespace = ApiClient(configuration), namespace

    @classmethod
    def open(cls, choice: Choice) -> Self:
        """Return a connection as the options say.

        Raises:
            KubeconfigError: there is no usable configuration.
        """
        return cls(*connection(choice))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    def separation(self, name: str) -> Json:
        """Return a SeparationJob.

        Raises:
            MissingError: there is none of this name.
        """
        return self._json("GET", self._separations(name))

    def separations(self, *, everywhere: bool = False) -> list[Json]:
        """Return the SeparationJobs of the namespace, or of all."""
        return self._list(f"/apis/{GROUP}/{VERSION}/{PLURAL}" if everywhere else self._separations())

    def apply(self, body: Json) -> Json:
        """Apply a SeparationJob (server-side apply).

        Raises:
            InvalidError: the API server refuses it.
        """
        parameters = {"fieldManager": FIELD_MANAGER, "force": "false"}
        return self._json("PATCH", self._separations(body["metadata"]["name"]), parameters, json.dumps(body), _APPLY)

    def merge(self, name: str, changes: Json) -> Json:
        """Change fields of a SeparationJob."""
        return self._json("PATCH", self._separations(name), {"fieldManager": FIELD_MANAGER}, changes, _MERGE)

    def patch(self, name: str, operations: list[Json]) -> Json:
        """Change a SeparationJob by a JSON patch.

        Raises:
            InvalidError: a `test` of it failed.
        """
        return self._json("PATCH", self._separations(name), {"fieldManager": FIELD_MANAGER}, operations, _PATCH)

    def job(self, name: str) -> Json:
        """Return a Job of the namespace."""
        return self._json("GET", self._namespaced("/apis/batch/v1", "jobs", name))

    def jobs(self, selector: str, *, everywhere: bool = False) -> list[Json]:
        """Return Jobs by a label selector."""
        path = "/apis/batch/v1/jobs" if everywhere else self._namespaced("/apis/batch/v1", "jobs")
        return self._list(path, {"labelSelector": selector})

    def pod(self, name: str) -> Json:
        """Return a pod of the namespace."""
        return self._json("GET", self._namespaced("/api/v1", "pods", name))

    def pods(self, selector: str) -> list[Json]:
        """Return pods of the namespace by a label selector."""
        return self._list(self._namespaced("/api/v1", "pods"), {"labelSelector": selector})

    def events(self, name: str) -> list[Json]:
        """Return the events of the namespace about objects of a name."""
        return self._list(self._namespaced("/api/v1", "events"), {"fieldSelector": f"involvedObject.name={name}"})

    def log(self, pod: str, lines: int | None, *, follow: bool = False) -> Iterator[str]:
        """Yield the last lines of a pod's log.

        Args:
            pod: name of the pod.
            lines: number of lines; None for all.
            follow: whether to go on until the pod ends.

        Raises:
            InvalidError: the container has not started.
            UnreachableError: the node does not answer.
        """
        parameters = {} if lines is None else {"tailLines": str(lines)}
        parameters |= {"follow": "true"} if follow else {}
        path = f"{self._namespaced('/api/v1', 'pods', pod)}/log"
        timeout = _FOLLOW_TIMEOUT if follow else _TIMEOUT
        response = self._open("GET", path, parameters, timeout=timeout)
        rest = b""
        try:
            for chunk in response.stream(4096):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"The log broke off: {type(error).__name__}") from None
        finally:
            response.close()
        if rest:
            yield rest.decode(errors="replace")

    def _separations(self, name: str = "") -> str:
        return self._namespaced(f"/apis/{GROUP}/{VERSION}", PLURAL, name)

    def _namespaced(self, group: str, plural: str, name: str = "") -> str:
        path = f"{group}/namespaces/{quote(self.namespace, safe='')}/{plural}"
        return f"{path}/{quote(name, safe='')}" if name else path

    def _list(self, path: str, parameters: Mapping[str, str] | None = None) -> list[Json]:
        found: list[Json] = []
        token = ""
        while True:
            page = self._json("GET", path, {**(parameters or {}), "limit": str(_PAGE), "continue": token})
            found += page["items"]
            token = page["metadata"].get("continue") or ""
            if not token:
                return found

    def _json(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        body: Any = None,  # noqa: ANN401 - any JSON, or JSON as text for an apply
        kind: str = "application/json",
    ) -> Json:
        response = self._open(method, path, parameters or {}, body, kind)
        found: Json = json.loads(response.data)
        return found

    def _open(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: Any = None,  # noqa: ANN401 - as above
        kind: str = "application/json",
        timeout: tuple[float, float] = _TIMEOUT,
    ) -> urllib3.BaseHTTPResponse:
        """Return a response that is a success, its body not read yet.

        Raises:
            ClusterError: the API server refused, or could not be reached.
        """
        headers = {"Accept": "application/json", "Content-Type": kind}
        query = [(name, value) for name, value in parameters.items() if value]
        try:
            request = self._client.param_serialize(
                method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response: urllib3.BaseHTTPResponse = self._client.call_api(*request, _request_timeout=timeout).response
            if response.status not in _SUCCESS:
                raise refusal(response.status, response.data)
        except (urllib3.exceptions.HTTPError, ApiException) as error:
            raise UnreachableError(f"The API server cannot be reached: {_cause(error)}") from None
        return response


def _cause(error: Exception) -> str:
    """Return what a connection failed of, without the wrappings of urllib3."""
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2] or type(reason).__name__
