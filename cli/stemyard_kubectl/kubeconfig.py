"""Which cluster, user and namespace are meant, as kubectl decides it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from stemyard_kubectl.errors import KubeconfigError

_DEFAULT: Final = "default"
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the options of the command line say; empty if they do not.

    Attributes:
        kubeconfig: path of a file.
        context: name of a context.
        namespace: namespace.
    """

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""


def connection(choice: Choice, environment: Mapping[str, str] = os.environ) -> tuple[Configuration, str]:
    """Return the configuration of a client, and the namespace.

    The files are --kubeconfig, else those of KUBECONFIG, else ~/.kube/config; without any, a pod's own account.

    Raises:
        KubeconfigError: there is no usable configuration.
    """
    files = _files(choice, environment)
    found = Configuration()
    if not files and not choice.kubeconfig and not choice.context and "KUBERNETES_SERVICE_HOST" in environment:
        return _of_pod(found, choice)
    if not files:
        named = choice.kubeconfig or environment.get("KUBECONFIG") or "~/.kube/config"
        raise KubeconfigError(f"There is no kubeconfig: {named} does not exist. Name one with --kubeconfig.")
    contexts, current = _contexts(files)
    name = choice.context or current
    if name not in contexts:
        known = f"there are {', '.join(sorted(contexts))}" if contexts else "there are none"
        raise KubeconfigError(
            f"The kubeconfig has no context {name!r}; {known}." if name else f"No context is chosen; {known}."
        )
    try:
        joined = os.pathsep.join(map(str, files))
        load_kube_config(joined, name, found, persist_config=False)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, yaml.YAMLError, ValueError) as error:
        raise KubeconfigError(f"The kubeconfig cannot be used: {error}") from None
    return found, choice.namespace or contexts[name] or _DEFAULT


def _files(choice: Choice, environment: Mapping[str, str]) -> list[Path]:
    if choice.kubeconfig:
        named = [choice.kubeconfig]
    else:
        named = [one for one in environment.get("KUBECONFIG", "").split(os.pathsep) if one]
    paths = [Path(one).expanduser() for one in named or ["~/.kube/config"]]
    return [path for path in paths if path.is_file()]


def _contexts(files: list[Path]) -> tuple[dict[str, str], str]:
    """Return the namespace of each context, and the current context. The first file that says something counts."""
    contexts: dict[str, str] = {}
    current = ""
    for path in files:
        try:
            content: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
            for one in content.get("contexts") or []:
                contexts.setdefault(one["name"], (one.get("context") or {}).get("namespace") or "")
            current = current or content.get("current-context") or ""
        except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise KubeconfigError(f"{path} is no kubeconfig: {error}") from None
    return contexts, current


def _of_pod(found: Configuration, choice: Choice) -> tuple[Configuration, str]:
    try:
        load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        own = _POD_NAMESPACE.read_text().strip()
    except (ConfigException, OSError) as error:
        raise KubeconfigError(f"There is no kubeconfig, and the pod has no account: {error}") from None
    return found, choice.namespace or own
