"""Definitions of kinds that only some clusters know, from their projects' own Go modules.

What the chart renders of them is checked by the API server like everything else.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from localcluster import toolchain
from localcluster.control_plane import ControlPlane
from localcluster.folders import here
from localcluster.programs import run

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_MODULES = {
    "sigs.k8s.io/gateway-api@v1.4.0": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": tuple(
        f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        for kind in ("podmonitors", "servicemonitors", "prometheusrules")
    ),
    "github.com/cert-manager/cert-manager@v1.19.1": tuple(
        f"deploy/crds/cert-manager.io_{kind}.yaml" for kind in ("certificates", "issuers")
    ),
    "istio.io/api@v1.27.3": ("kubernetes/customresourcedefinitions.gen.yaml#peerauthentications.security.istio.io",),
    "github.com/cilium/cilium@v1.18.2": ("pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",),
}


@cache
def _folder(module: str) -> Path:
    """The module's files; `go mod download` checks them against the public sum database."""
    command = toolchain.go(here())
    return Path(json.loads(run([command, "mod", "download", "-json", module], timeout=300, cwd=Path("/")))["Dir"])


def _definitions() -> Iterator[dict[str, Any]]:
    for module, paths in _MODULES.items():
        for path in paths:
            file, _, name = path.partition("#")
            for text in (_folder(module) / file).read_text().split("\n---\n"):
                if f"\n  name: {name}" in text:
                    yield yaml.safe_load(text)


def install(plane: ControlPlane) -> None:
    """Make the API server know them; the caller's first use waits until it serves them."""
    for definition in _definitions():
        plane.api.apply(f"{_CRDS}/{definition['metadata']['name']}", definition)
