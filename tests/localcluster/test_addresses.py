"""The cluster's networks."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from localcluster.addresses import CANDIDATES, Plan, choose
from localcluster.errors import MissingPrerequisiteError


def test_the_first_pair_is_taken_when_nothing_is_in_its_way() -> None:
    plan = choose(["192.168.1.0/24", "100.64.0.1"])
    assert (plan.pods, plan.services) == CANDIDATES[0]


@pytest.mark.parametrize("route", ["10.88.3.0/24", "10.96.0.1", "10.0.0.0/8"])
def test_a_pair_is_left_alone_when_the_machine_has_a_route_into_it(route: str) -> None:
    plan = choose([route])
    assert (plan.pods, plan.services) != CANDIDATES[0]
    for each in (plan.pods, plan.services):
        assert not IPv4Network(each).overlaps(IPv4Network(route))


def test_no_free_pair_is_said_with_the_pairs_tried() -> None:
    with pytest.raises(MissingPrerequisiteError, match=r"10\.88\.0\.0/16"):
        choose(["0.0.0.0/1", "128.0.0.0/1"])


@pytest.mark.parametrize(("pods", "services"), CANDIDATES)
def test_everyone_has_a_place_of_their_own(pods: str, services: str) -> None:
    plan = Plan(pods, services)
    assert not IPv4Network(pods).overlaps(IPv4Network(services))
    assert IPv4Address(plan.node) in IPv4Network(pods)
    assert IPv4Address(plan.node) not in IPv4Network(plan.pod_range)
    assert IPv4Address(plan.api) in IPv4Network(services)
    assert IPv4Address(plan.dns) in IPv4Network(services)
