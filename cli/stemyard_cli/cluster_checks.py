"""Checks of an installation's cluster with kubectl: CRD, operator, GPUs, policies, and why separations wait."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stemyard_cli.findings import Finding, Verdict
from stemyard_contract.separationjob import API_VERSION

_SECONDS: Final = 20
_CRD: Final = "separationjobs.stemyard.dev"
_VERSION: Final = API_VERSION.rpartition("/")[2]
_GPU: Final = "nvidia.com/gpu"
_ENFORCING: Final = ("calico", "cilium", "antrea", "kube-router", "weave", "kindnet", "canal", "aws-node", "ovn")
"""Parts of names of DaemonSets whose network plugins enforce NetworkPolicies."""
_OPERATOR: Final = "app.kubernetes.io/component=operator"
_ENDED: Final = frozenset({"Completed", "Failed", "Cancelled"})


class ClusterUnreachableError(Exception):
    """kubectl is missing, or the cluster refused; the message is kubectl's."""


def check_cluster() -> Iterator[Finding]:
    """Yield a finding for each check with kubectl's current context."""
    try:
        crd = _get("customresourcedefinition", _CRD)
    except ClusterUnreachableError as error:
        yield Finding("cluster", Verdict.SKIPPED, str(error))
        return
    yield _crd(crd)
    if not crd:
        return
    for check in (_operator, _gpus, _policies, _waiting):
        try:
            yield check()
        except ClusterUnreachableError as error:
            yield Finding(check.__name__.strip("_"), Verdict.SKIPPED, str(error))


def _get(kind: str, name: str = "", *arguments: str) -> dict[str, Any]:
    """Return an object or a list as JSON; nothing if there is none of that name.

    Raises:
        ClusterUnreachableError: kubectl failed.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise ClusterUnreachableError("kubectl is not installed")
    named = [name, "--ignore-not-found"] if name else ["--all-namespaces"]
    command = [program, "get", kind, *named, *arguments, "--output", "json", f"--request-timeout={_SECONDS}s"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS * 2, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ClusterUnreachableError("the cluster does not answer") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ClusterUnreachableError(lines[-1] if lines else "kubectl failed")
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return found


def _crd(crd: Mapping[str, Any]) -> Finding:
    if not crd:
        return Finding("CRD", Verdict.FAILED, f"{_CRD} is not installed", "Install the chart: docs/07-install.md.")
    versions = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
    if _VERSION not in versions:
        detail = f"it serves {', '.join(versions)}, and this program knows {_VERSION}"
        return Finding("CRD", Verdict.FAILED, detail, "Use the version of this program that is installed there.")
    return Finding("CRD", Verdict.OK, f"{_CRD} {_VERSION}")


def _operator() -> Finding:
    found = _get("deployments", "", "--selector", _OPERATOR)["items"]
    if not found:
        return Finding("operator", Verdict.FAILED, "there is no operator", "Install the chart: docs/07-install.md.")
    for one in found:
        name = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        ready, wanted = one.get("status", {}).get("readyReplicas", 0), one["spec"]["replicas"]
        if ready < 1:
            advice = f"kubectl -n {one['metadata']['namespace']} describe pods -l {_OPERATOR}"
            return Finding("operator", Verdict.FAILED, f"{name} has {ready} of {wanted} pods ready", advice)
    return Finding("operator", Verdict.OK, ", ".join(one["metadata"]["namespace"] for one in found))


def _gpus() -> Finding:
    nodes = _get("nodes")["items"]
    offered = [int(node["status"].get("allocatable", {}).get(_GPU, 0)) for node in nodes]
    if sum(offered):
        return Finding("GPUs", Verdict.OK, f"{sum(offered)} on {sum(map(bool, offered))} of {len(nodes)} nodes")
    advice = "Only models for CPUs can run. For GPUs install NVIDIA's device plugin: docs/07-install.md."
    return Finding("GPUs", Verdict.WARNING, f"none of {len(nodes)} node(s) offers {_GPU}", advice)


def _policies() -> Finding:
    ours = _get("networkpolicies", "", "--selector", "app.kubernetes.io/name=stemyard")["items"]
    if not ours:
        return Finding("policies", Verdict.WARNING, "there are no NetworkPolicies", "Set networkPolicy.enabled=true.")
    plugins = [one["metadata"]["name"] for one in _get("daemonsets")["items"]]
    enforcing = [name for name in plugins if any(part in name for part in _ENFORCING)]
    if enforcing:
        return Finding("policies", Verdict.OK, f"{len(ours)}, with {', '.join(enforcing)}")
    advice = "Without a network plugin that enforces them, pods that fetch may reach the cluster's network."
    return Finding("policies", Verdict.WARNING, f"{len(ours)}, and no known plugin that enforces them", advice)


def _waiting() -> Finding:
    reasons: Counter[str] = Counter()
    for one in _get("separationjobs")["items"]:
        status = one.get("status") or {}
        if status.get("phase") in _ENDED:
            continue
        blocking = [each for each in status.get("conditions") or () if each["status"] == "False"]
        reasons.update(f"{each['reason']}: {each.get('message', '')}" for each in blocking[:1])
    if not reasons:
        return Finding("waiting", Verdict.OK, "no separation waits for anything")
    shown = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return Finding("waiting", Verdict.WARNING, shown, "What each reason means: docs/04-kubectl.md.")
