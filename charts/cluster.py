"""The namespace, Deployments and pods of an installation, read through the Kubernetes API."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kubernetes import client, config
from urllib3.exceptions import HTTPError

_SECONDS: Final = 10
"""Timeout of a request in seconds."""
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


class ClusterError(Exception):
    """The cluster is unreachable or refused a request; the message says which."""


class Cluster:
    """One namespace of the cluster in KUBECONFIG, by default ~/.kube/config."""

    def __init__(self, namespace: str) -> None:
        """Read the kubeconfig.

        Raises:
            ClusterError: there is no usable kubeconfig.
        """
        try:
            # Passed explicitly, since the client reads KUBECONFIG only once, on import.
            self._client = config.new_client_from_config(os.environ.get("KUBECONFIG"))  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise ClusterError(f"no usable kubeconfig: {error}") from error
        self._namespace = namespace

    def ensure_namespace(self) -> None:
        """Create the namespace, with Pod Security level `restricted` enforced, unless it exists.

        A user who may not create namespaces is assumed to have an existing one; otherwise Helm reports it.

        Raises:
            ClusterError: the API server is unreachable or refused the request.
        """
        body = client.V1Namespace(metadata=client.V1ObjectMeta(name=self._namespace, labels=RESTRICTED))
        with _api_errors():
            try:
                client.CoreV1Api(self._client).create_namespace(body, _request_timeout=_SECONDS)
            except client.ApiException as error:
                if error.status not in (_CONFLICT, _FORBIDDEN):
                    raise

    def deployments(self, release: str) -> list[Mapping[str, Any]]:
        """Return the release's Deployments as JSON.

        Raises:
            ClusterError: the API server is unreachable or refused the request.
        """
        return self._list(client.AppsV1Api(self._client).list_namespaced_deployment, release)

    def pods(self, release: str) -> list[Mapping[str, Any]]:
        """Return the release's pods as JSON.

        Raises:
            ClusterError: the API server is unreachable or refused the request.
        """
        return self._list(client.CoreV1Api(self._client).list_namespaced_pod, release)

    def _list(self, call: Any, release: str) -> list[Mapping[str, Any]]:  # noqa: ANN401 - the client is untyped
        with _api_errors():
            response = call(
                self._namespace,
                label_selector=f"app.kubernetes.io/instance={release}",
                _request_timeout=_SECONDS,
                _preload_content=False,
            )
            items: list[Mapping[str, Any]] = json.loads(response.data)["items"]
            return items


@contextmanager
def _api_errors() -> Iterator[None]:
    """Turn the client's errors into ClusterError."""
    try:
        yield
    except client.ApiException as error:
        raise ClusterError(f"the API server answered {error.status} {error.reason}") from error
    except (HTTPError, OSError) as error:
        raise ClusterError(f"the API server is unreachable: {error}") from error
