"""The web page says what users can do about each failure, and tells of retries only where they can help."""

import json
import re
from typing import Final

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from tests.support.page_words import WORDS, evaluate

PAGES_OWN: Final = {"UPLOAD_REFUSED", "UPLOAD_BLOCKED", "FILE_UNREADABLE", "UNREACHABLE", "TIMEOUT"}
"""Failures that the page itself observes."""
RETRY: Final = "Trying again often helps."
UNKNOWN: Final = "A_CODE_OF_A_LATER_VERSION"


def with_advice() -> set[str]:
    table = WORDS.read_text().partition("const ADVICE = {\n")[2].partition("\n};")[0]
    return set(re.findall(r"(?m)^  ([A-Z_]+):", table))


@pytest.fixture(scope="module")
def advice() -> dict[str, str]:
    """What the page's own function returns for each code, with the table's `retryable`."""
    failures = {code: row.retryable for code, row in FAILURES.items()} | {UNKNOWN: False}
    shown = evaluate(f"{json.dumps([*failures.items()])}.map(([code, retryable]) => words.advice(code, retryable))")
    return dict(zip(failures, shown, strict=True))


def test_the_page_knows_only_codes_that_exist() -> None:
    assert with_advice() - set(FailureCode) == PAGES_OWN


def test_each_failure_that_no_retry_can_end_has_advice_of_its_own() -> None:
    final = {code for code, row in FAILURES.items() if not row.retryable}
    assert final - with_advice() == set()


@pytest.mark.parametrize("code", [*FailureCode, UNKNOWN])
def test_no_failure_shows_an_empty_line(advice: dict[str, str], code: str) -> None:
    assert re.fullmatch(r"[A-Z].*[.]", advice[code])


def test_retries_are_advised_where_they_can_help(advice: dict[str, str]) -> None:
    assert {code for code, text in advice.items() if text == RETRY} <= {
        c for c, row in FAILURES.items() if row.retryable
    }
    assert advice[FailureCode.JOB_LOST] == RETRY
