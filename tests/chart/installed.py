"""Installations of the chart at a control plane: what tests do with them and ask about them."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from charts.cluster import RESTRICTED
from charts.helm import Helm, Release, merge
from charts.install import install
from localcluster.control_plane import ControlPlane
from localcluster.folders import here
from localcluster.tools import path_of
from tests.chart.rendered import CASES, RELEASE, Object, with_fixed

WITHOUT_CLAIMS: Object = {
    "store": {"persistence": {"enabled": False}},
    "valkey": {"persistence": {"enabled": False}},
    "models": {"cache": {"enabled": False}, "claim": "weights"},
}
"""Where only an API server runs, nothing ever lets go of a PersistentVolumeClaim."""
INSTALL_ID = ("configmaps", f"{RELEASE}-install")


def kubectl(kubeconfig: Path, *arguments: str) -> list[str]:
    return [str(path_of("kubectl", here())), "--kubeconfig", str(kubeconfig), *arguments]


def install_case(name: str, namespace: str, more: Object | None = None) -> Release:
    """Install or upgrade one of the cases by Helm, without waiting for pods that no node will run."""
    release = Release(RELEASE, namespace, values=merge(merge(CASES[name], WITHOUT_CLAIMS), more or {}))
    install(release, print, timeout=60, wait=False)
    return release


def data(plane: ControlPlane, namespace: str, *names: tuple[str, str]) -> list[Object]:
    return [plane.api.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")["data"] for kind, name in names]


def documents(release: Release) -> list[dict[str, Any]]:
    fixed = replace(release, values=with_fixed(release.values))
    return [one for one in yaml.safe_load_all(Helm().template(fixed)) if one]


def dry_run(plane: ControlPlane, namespace: str, objects: Sequence[Object]) -> str:
    """Server-side apply that changes nothing and refuses unknown fields; return what the API server says."""
    placed = [{**one, "metadata": {"namespace": namespace, **one["metadata"]}} for one in objects]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": placed})
    options = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    command = kubectl(plane.kubeconfig, *options)
    done = subprocess.run(command, input=listed, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


def restricted_namespace(plane: ControlPlane, name: str) -> None:
    plane.api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    # A controller makes it where one runs.
    plane.api.post(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})


def kubeconfig_of(plane: ControlPlane, namespace: str, account: str) -> Path:
    """Kubeconfig with a service account's token, as its pods hold one."""
    document = yaml.safe_load(plane.kubeconfig.read_text())
    [user] = document["users"]
    user["user"] = {"token": plane.token_for(namespace, account)}
    path = plane.folder / f"{namespace}-{account}.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def rights(plane: ControlPlane, namespace: str, account: str, where: str) -> set[tuple[str, str, str]]:
    """Every (group/resource, name, verb) that an account of a namespace has in another, as the API server sees it."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": where}}
    command = kubectl(kubeconfig_of(plane, namespace, account), "create", "--raw", path, "-f", "-")
    done = subprocess.run(command, input=json.dumps(review), capture_output=True, text=True, timeout=30, check=True)
    return {
        (f"{group}/{resource}", name, verb)
        for rule in json.loads(done.stdout)["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
        if not resource.startswith("self")
    }
