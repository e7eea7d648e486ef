"""Each failure code has a remedy, and the remedy agrees with the failure table."""

import re

import pytest

from stemyard_contract.failures import FAILURES, FailureCode, Stage
from stemyard_contract.remedies import _BY_FAULT, REMEDIES, Fault


def test_every_code_has_one_remedy() -> None:
    assert set(REMEDIES) == set(FailureCode)
    assert set(_BY_FAULT) == set(Fault)
    assert sum(map(len, _BY_FAULT.values())) == len(REMEDIES)


@pytest.mark.parametrize("code", FailureCode)
def test_an_action_is_sentences_in_one_cell_of_a_table(code: FailureCode) -> None:
    action = REMEDIES[code].action
    assert re.fullmatch(r"[A-Z`].*\.", action)
    assert "|" not in action


@pytest.mark.parametrize("code", FailureCode)
def test_only_failures_that_are_retried_say_so(code: FailureCode) -> None:
    if "is retried" in REMEDIES[code].action:
        assert FAILURES[code].retryable
        assert FAILURES[code].stage is not Stage.REQUEST


@pytest.mark.parametrize("code", FailureCode)
def test_a_request_that_the_caller_must_change_is_no_server_error(code: FailureCode) -> None:
    if REMEDIES[code].fault is Fault.CALLER and not FAILURES[code].retryable:
        assert FAILURES[code].http_status < 500
