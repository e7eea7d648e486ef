"""A real control plane: identities, tokens for an audience, stopping without a trace."""

from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from localcluster.daemon import processes_of
from localcluster.errors import ApiRefusedError
from localcluster.identities import Identities
from localcluster.kube_api import KubeApi

pytestmark = pytest.mark.api_server
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


def test_two_run_at_once_each_with_its_own_objects(tmp_path: Path) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    with ControlPlane(tmp_path / "a") as one, ControlPlane(tmp_path / "b") as two:
        one.api.post("/api/v1/namespaces/default/configmaps", body)
        with pytest.raises(ApiRefusedError) as caught:
            two.api.get("/api/v1/namespaces/default/configmaps/x")
        assert caught.value.status == 404
    assert processes_of(tmp_path) == []


def test_objects_are_there_again_after_a_stop(tmp_path: Path) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    for attempt in (1, 2):
        with ControlPlane(tmp_path) as plane:
            if attempt == 1:
                plane.api.post("/api/v1/namespaces/default/configmaps", body)
            assert plane.api.get("/api/v1/namespaces/default/configmaps/x")["metadata"]["name"] == "x"


def test_a_token_is_good_for_its_audience_only_and_a_stranger_may_do_nothing(tmp_path: Path) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}}
    with ControlPlane(tmp_path) as plane:
        plane.api.post("/api/v1/namespaces/default/serviceaccounts", account)
        token = plane.token_for("default", "sa", ["stemyard-desk"])
        for audience, good in (("stemyard-desk", True), ("another", False)):
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
            answer = plane.api.post(REVIEWS, {**review, "spec": {"token": token, "audiences": [audience]}})
            assert answer["status"].get("authenticated", False) is good
        plane.kubeconfig_for("jane", ["dev"])
        jane = Identities(plane.folder).client_pair("jane")
        with pytest.raises(ApiRefusedError) as caught:
            KubeApi(plane.server, plane.identities.authority.certificate, jane).get("/api/v1/namespaces")
        assert caught.value.status == 403
