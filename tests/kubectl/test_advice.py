"""What to do, in each state."""

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.remedies import REMEDIES
from stemyard_contract.separationjob import Phase, Reason
from stemyard_kubectl.advice import BY_REASON, what_blocks, what_to_do
from stemyard_kubectl.separations import Separation
from tests.kubectl.resources import condition, separation


def failed(code: str) -> Separation:
    retryable = code in FAILURES and FAILURES[FailureCode(code)].retryable
    failure = {"code": code, "stage": "fetch", "message": "It failed.", "retryable": retryable}
    return separation("song", "Failed", failure=failure)


@pytest.mark.parametrize("code", FailureCode)
def test_each_failure_has_its_remedy(code: FailureCode) -> None:
    text = what_to_do(failed(code))
    assert text.startswith(REMEDIES[code].action)
    assert ("retry song" in text) == FAILURES[code].retryable


def test_a_failure_of_a_later_version_is_named() -> None:
    assert "SOMETHING_NEW" in what_to_do(failed("SOMETHING_NEW"))


def test_each_reason_has_a_sentence() -> None:
    assert set(BY_REASON) == set(Reason)
    for text in BY_REASON.values():
        assert text.format(name="song", namespace="music").endswith(".")


@pytest.mark.parametrize("reason", Reason)
def test_what_waits_has_the_advice_of_its_reason(reason: Reason) -> None:
    conditions = [condition("Fetched", "Succeeded", "True"), condition("Admitted", reason)]
    one = separation("song", "Queued", conditions=conditions)
    blocking = what_blocks(one)
    assert blocking is not None
    assert blocking.reason == reason
    assert what_to_do(one) == BY_REASON[reason].format(name="song", namespace="music")


@pytest.mark.parametrize("phase", [None, *Phase])
def test_every_phase_has_a_sentence(phase: Phase | None) -> None:
    assert what_to_do(separation("song", phase)).endswith(".")
