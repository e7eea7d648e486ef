"""The failure table is whole and unambiguous."""

from collections import Counter

import pytest

from stemyard_contract.failures import FAILURES, Failure, FailureCode, failure_of_exit_code


def test_every_code_has_a_row() -> None:
    assert set(FAILURES) == set(FailureCode)


def test_exit_codes_are_unique_and_leave_shell_and_signals_alone() -> None:
    used = Counter(row.exit_code for row in FAILURES.values() if row.exit_code)
    assert max(used.values()) == 1
    assert all(10 <= code <= 120 for code in used)


def test_sentences_are_sentences() -> None:
    for row in FAILURES.values():
        assert row.sentence[0].isupper(), row.code
        assert row.sentence.endswith("."), row.code


@pytest.mark.parametrize("row", [row for row in FAILURES.values() if row.exit_code], ids=lambda row: row.code)
def test_exit_codes_lead_back(row: Failure) -> None:
    assert failure_of_exit_code(row.exit_code) is row


@pytest.mark.parametrize("code", [0, 1, 137, 143])
def test_unknown_exit_codes_are_a_failed_pod(code: int) -> None:
    assert failure_of_exit_code(code).code is FailureCode.POD_FAILED
