"""Who may do what: exactly the calls that the parts make."""

import pytest

from charts.helm import merge
from tests.chart.rendered import CASES, NAMESPACE, RELEASE, case, find, of_kind, render

OPERATOR_RIGHTS = [
    {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs"], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": ["stemyard.dev"], "resources": ["separationjobs/status"], "verbs": ["patch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
REGISTRATION_RIGHTS = [
    {"apiGroups": ["stemyard.dev"], "resources": ["keywebhooks"], "verbs": ["get", "list", "watch"]},
]
LEASE_RIGHTS = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [f"{RELEASE}-operator"],
        "verbs": ["get", "update"],
    },
    # what the sweep says is said of the Lease
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
API_RIGHTS = [
    {
        "apiGroups": ["stemyard.dev"],
        "resources": ["separationjobs", "keywebhooks"],
        "verbs": ["get", "list", "create", "patch", "delete"],
    }
]
DESK_RIGHTS = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]

every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_only_the_api_and_the_operator_get_a_token(name: str) -> None:
    objects = case(name)
    accounts = of_kind(objects, "ServiceAccount")
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    with_token = {
        deployment["metadata"]["name"]
        for deployment in of_kind(objects, "Deployment")
        if deployment["spec"]["template"]["spec"]["automountServiceAccountToken"]
    }
    assert with_token == {f"{RELEASE}-api", f"{RELEASE}-operator"}


def test_rights_are_exactly_what_the_parts_call() -> None:
    objects = case("two namespaces")
    rights = {(one["metadata"]["namespace"], one["metadata"]["name"]): one["rules"] for one in of_kind(objects, "Role")}
    assert rights == {
        ("team-a", f"{RELEASE}-operator"): [*OPERATOR_RIGHTS[:2], *REGISTRATION_RIGHTS, *OPERATOR_RIGHTS[2:]],
        ("team-b", f"{RELEASE}-operator"): OPERATOR_RIGHTS,
        (NAMESPACE, f"{RELEASE}-operator-lease"): LEASE_RIGHTS,
        ("team-a", f"{RELEASE}-api"): API_RIGHTS,
    }


@every_case
def test_beyond_namespaces_there_is_one_right(name: str) -> None:
    [binding] = of_kind(case(name), "ClusterRoleBinding")
    assert find(case(name), "ClusterRole", binding["roleRef"]["name"])["rules"] == DESK_RIGHTS


@every_case
def test_the_other_cluster_roles_only_add_to_the_clusters_own(name: str) -> None:
    aggregated = {
        one["metadata"]["name"]: one for one in of_kind(case(name), "ClusterRole") if one["rules"] != DESK_RIGHTS
    }
    assert aggregated.keys() == {f"{NAMESPACE}-{RELEASE}-{role}" for role in ("view", "edit", "admin")}
    for one in aggregated.values():
        assert {rule["apiGroups"][0] for rule in one["rules"]} == {"stemyard.dev"}
        assert one["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    reading = aggregated[f"{NAMESPACE}-{RELEASE}-view"]["rules"][0]["verbs"]
    assert reading == ["get", "list", "watch"]


def test_aggregated_roles_can_be_left_out() -> None:
    objects = render(merge(CASES["default"], {"crds": {"aggregateRoles": False}}))
    assert [one["rules"] for one in of_kind(objects, "ClusterRole")] == [DESK_RIGHTS]


@every_case
def test_bindings_give_a_role_of_their_namespace_to_an_account_that_is_there(name: str) -> None:
    objects = case(name)
    accounts = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in of_kind(objects, "ServiceAccount")}
    roles = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in [*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole")]
    }
    for binding in [*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")]:
        reference = binding["roleRef"]
        assert (reference["kind"], binding["metadata"].get("namespace"), reference["name"]) in roles
        assert {(subject["namespace"], subject["name"]) for subject in binding["subjects"]} <= accounts
