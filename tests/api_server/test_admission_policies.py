"""The chart's admission policies at a real API server: what tenants may not write, and what a namespace may use."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from charts.helm import Release, merge
from localcluster.control_plane import ControlPlane
from localcluster.errors import ApiRefusedError
from localcluster.identities import Identities
from localcluster.kube_api import KubeApi
from tests.chart.installed import documents
from tests.chart.rendered import BUCKET, CLUSTER_KINDS, RELEASE, of_kind

GROUP = "/apis/admissionregistration.k8s.io/v1"
TENANT, STRICT, OURS = "tenant-songs", "strict-songs", "policy-songs"
QUEUE, PRIORITY_CLASS = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
LIMITS = {"profiles": ["default", "cpu"], "queues": ["songs"], "priorityClasses": ["low"], "maxPriority": 10}
PROFILES = {"default": {}, "cpu": {"separate": {"queueName": "songs"}}, "gpu": {"queueName": "gpus"}}
CLAIMS = [{"key": "victim", "webhook": "https://evil.example.com/"}]
TRACK = {"stemyard.dev/track-id": "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"}


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane with the policies of a release in OURS that watches all three namespaces."""
    for name in (TENANT, STRICT, OURS):
        control_plane.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    limits = {"namespaces": {TENANT: LIMITS, STRICT: {"queues": ["gpus"], "priorityClasses": []}}}
    watched = [TENANT, STRICT, OURS]
    values = {"admissionPolicies": limits, "watchNamespaces": watched, "kueue": {"enabled": True}, "profiles": PROFILES}
    objects = documents(Release(RELEASE, OURS, values=merge(BUCKET, values)))
    paths = []
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        assert kind in CLUSTER_KINDS
        plural = kind.lower().replace("policy", "policies") if kind.endswith("Policy") else f"{kind.lower()}s"
        collection = f"{GROUP}/{plural}"
        for one in of_kind(objects, kind):
            control_plane.api.post(collection, dict(one))
            paths.append(f"{collection}/{one['metadata']['name']}")
    _await_refusal(control_plane.api, TENANT, {"priority": 11}, {QUEUE: "songs"})
    _await_refusal(control_plane.api, STRICT, {}, {QUEUE: "songs"})
    _await_refusal(control_plane.api, OURS, {"claims": CLAIMS})
    yield control_plane
    for path in paths:
        control_plane.api.delete(path)


def _await_refusal(api: KubeApi, namespace: str, spec: dict[str, Any], labels: dict[str, str] | None = None) -> None:
    """Wait until the API server enforces policies, which takes it a moment."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            api.post(f"{path(namespace)}?dryRun=All", manifest("probe", labels, **spec))
        except ApiRefusedError:
            return
        time.sleep(0.2)
    pytest.fail("the policies are not enforced")


def path(namespace: str, name: str = "") -> str:
    return f"/apis/stemyard.dev/v1alpha1/namespaces/{namespace}/separationjobs" + (f"/{name}" if name else "")


def manifest(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    song = {"source": {"searchQuery": "a song"}, **spec}
    return {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", "metadata": metadata, "spec": song}


@pytest.mark.parametrize("namespace", [TENANT, OURS])
@pytest.mark.parametrize(
    ("name", "labels", "spec", "said"),
    [
        ("song", {}, {"claims": CLAIMS}, "spec.claims are written by the Stemyard API only"),
        ("song", TRACK, {}, "label stemyard.dev/track-id"),
        ("song", {"stemyard.dev/owner": "victim"}, {}, "label stemyard.dev/owner"),
        (f"sep-{'a' * 36}", {}, {}, "names that begin with sep-"),
    ],
)
def test_what_decides_whose_a_track_is_can_be_written_by_the_api_only(
    plane: ControlPlane, namespace: str, name: str, labels: dict[str, str], spec: dict[str, Any], said: str
) -> None:
    with pytest.raises(ApiRefusedError, match=said):
        # with a queue, so that no other policy refuses it first
        plane.api.post(path(namespace), manifest(name, {QUEUE: "songs", **labels}, **spec))


def test_the_api_writes_them_and_others_change_the_rest_only(plane: ControlPlane) -> None:
    track = f"sep-{TRACK['stemyard.dev/track-id']}"
    api = as_account(plane, f"{RELEASE}-api")
    api.post(path(OURS), manifest(track, {**TRACK, "stemyard.dev/owner": "team-a"}, claims=[{"key": "team-a"}]))
    api.merge(path(OURS, track), {"spec": {"claims": [{"key": "team-a"}, {"key": "team-b"}]}})
    assert plane.api.merge(path(OURS, track), {"spec": {"cancel": True, "priority": 5}})["spec"]["cancel"] is True
    changes: list[dict[str, Any]] = [
        {"spec": {"claims": CLAIMS}},
        {"spec": {"claims": []}},
        {"metadata": {"labels": {"stemyard.dev/owner": "victim"}}},
        {"metadata": {"labels": {"stemyard.dev/track-id": None}}},
    ]
    for change in changes:
        with pytest.raises(ApiRefusedError, match="by the Stemyard API only"):
            plane.api.merge(path(OURS, track), change)
    api.merge(path(OURS, track), {"spec": {"claims": []}})


@pytest.mark.parametrize(
    ("labels", "spec", "said"),
    [
        ({QUEUE: "songs"}, {"profile": "gpu"}, "may use the profiles default, cpu"),
        ({QUEUE: "other"}, {}, "may use the queues songs"),
        ({}, {}, "may use the queues songs; name one in the label"),
        ({QUEUE: ""}, {}, "may use the queues songs; name one in the label"),
        ({QUEUE: "songs", PRIORITY_CLASS: "high"}, {}, "may use the priority classes low"),
        ({QUEUE: "songs"}, {"priority": 11}, "priorities up to 10"),
    ],
)
def test_a_namespace_uses_what_it_is_given(
    plane: ControlPlane, labels: dict[str, str], spec: dict[str, Any], said: str
) -> None:
    with pytest.raises(ApiRefusedError, match=said):
        plane.api.post(path(TENANT), manifest("song", labels, **spec))
    # a namespace without limits
    plane.api.post(f"{path(OURS)}?dryRun=All", manifest("song", labels, **spec))


def test_what_it_is_given_it_may_use_and_no_more_later(plane: ControlPlane) -> None:
    plane.api.post(path(TENANT), manifest("mine", {QUEUE: "songs"}, profile="cpu", priority=10))
    plane.api.merge(path(TENANT, "mine"), {"spec": {"priority": 3}})
    changes: list[dict[str, Any]] = [{"spec": {"priority": 11}}, {"metadata": {"labels": {PRIORITY_CLASS: "high"}}}]
    for change in [*changes, {"metadata": {"labels": {QUEUE: "other"}}}]:
        with pytest.raises(ApiRefusedError, match="may use"):
            plane.api.merge(path(TENANT, "mine"), change)
    plane.api.merge(path(TENANT, "mine"), {"metadata": {"labels": {PRIORITY_CLASS: "low"}}})
    plane.api.merge(path(TENANT, "mine"), {"spec": {"cancel": True}})


def test_a_queue_may_be_left_out_only_where_the_profile_has_an_allowed_one(plane: ControlPlane) -> None:
    """Without any, the Job would be outside the quota of the namespace's queues."""
    plane.api.post(path(TENANT), manifest("of-the-profile", profile="cpu"))
    plane.api.post(path(TENANT), manifest("of-its-own", {QUEUE: "songs"}))
    with pytest.raises(ApiRefusedError, match="may use the queues songs"):
        plane.api.merge(path(TENANT, "of-its-own"), {"metadata": {"labels": {QUEUE: None}}})
    with pytest.raises(ApiRefusedError, match="may use the queues gpus"):
        plane.api.post(path(STRICT), manifest("elsewhere", profile="cpu"))
    plane.api.post(path(STRICT), manifest("of-the-profile", profile="gpu"))
    with pytest.raises(ApiRefusedError, match="may use no priority classes of Kueue"):
        plane.api.post(path(STRICT), manifest("first", {PRIORITY_CLASS: "low"}, profile="gpu"))


def test_what_was_there_before_the_policies_can_still_be_cancelled(plane: ControlPlane) -> None:
    api = as_account(plane, f"{RELEASE}-operator", TENANT)
    api.post(path(TENANT), manifest("older", {PRIORITY_CLASS: "high"}))
    plane.api.merge(path(TENANT, "older"), {"spec": {"cancel": True}})


def as_account(plane: ControlPlane, account: str, namespace: str = OURS) -> KubeApi:
    """The API server as a service account of OURS sees it, with the rights of the API in a namespace."""
    rule = {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs"], "verbs": ["create", "patch", "get"]}
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    plane.api.post(f"{roles}/roles", {"metadata": {"name": account}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": OURS}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    body = {"metadata": {"name": account}, "roleRef": reference, "subjects": [subject]}
    plane.api.post(f"{roles}/rolebindings", body)
    user = f"system:serviceaccount:{OURS}:{account}"
    plane.kubeconfig_of_account(OURS, account)
    identities = Identities(plane.folder)
    return KubeApi(plane.server, identities.authority.certificate, identities.client_pair(user))
