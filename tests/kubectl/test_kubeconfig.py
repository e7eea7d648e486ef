"""Which cluster, user and namespace are meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stemyard_kubectl.errors import KubeconfigError
from stemyard_kubectl.kubeconfig import Choice, connection


def write(path: Path, name: str, *, current: bool = True, **user: Any) -> Path:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example"}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}", **user}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
    }
    path.write_text(yaml.safe_dump({**content, **({"current-context": name} if current else {})}))
    return path


@pytest.fixture
def files(tmp_path: Path) -> str:
    one, two = write(tmp_path / "one", "one"), write(tmp_path / "two", "two")
    return f"{one}:{tmp_path / 'missing'}:{two}"


@pytest.mark.parametrize(
    ("choice", "host", "namespace"),
    [
        (Choice(), "https://one.example", "ns-one"),
        (Choice(context="two"), "https://two.example", "ns-two"),
        (Choice(context="two", namespace="music"), "https://two.example", "music"),
    ],
)
def test_the_first_file_that_names_a_context_counts(files: str, choice: Choice, host: str, namespace: str) -> None:
    found, named = connection(choice, {"KUBECONFIG": files})
    assert (found.host, named) == (host, namespace)
    assert found.api_key["BearerToken"] == f"Bearer token-of-{host.removeprefix('https://').partition('.')[0]}"


def test_the_option_goes_before_the_environment(files: str, tmp_path: Path) -> None:
    third = write(tmp_path / "third", "third")
    assert connection(Choice(str(third)), {"KUBECONFIG": files})[0].host == "https://third.example"


def test_a_credential_plugin_is_asked(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    status = '{"token": "from-the-plugin"}'
    answer = f'{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {status}}}'
    plugin.write_text(f"#!/bin/sh\necho '{answer}'\n")
    plugin.chmod(0o755)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    file = write(tmp_path / "file", "one", token="", exec=command)
    assert connection(Choice(str(file)), {})[0].api_key["BearerToken"] == "Bearer from-the-plugin"


@pytest.mark.parametrize("content", ["", "- a", "contexts: 7", "contexts: [1]", "{", "clusters: []"])
def test_what_is_no_kubeconfig_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(KubeconfigError):
        connection(Choice(str(tmp_path / "file")), {})


def test_no_context_is_said_with_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "file", "one", current=False)
    with pytest.raises(KubeconfigError, match="No context is chosen; there are one"):
        connection(Choice(str(file)), {})


def test_without_any_a_pods_account_is_used_or_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KubeconfigError, match="--kubeconfig"):
        connection(Choice(), {})
    with pytest.raises(KubeconfigError, match="no account"):
        connection(Choice(), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
