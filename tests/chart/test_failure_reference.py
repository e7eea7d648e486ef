"""The generated page of failure codes has every code once, with what the failure table says."""

import re

import pytest

from charts import failure_reference as page
from charts.failure_reference import failure_reference
from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.remedies import REMEDIES


def rows() -> list[list[str]]:
    lines = [line for line in failure_reference().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_every_code_has_one_row_with_meaning_fault_and_remedy() -> None:
    found = {cells[0].strip("`"): cells for cells in rows()}
    assert len(rows()) == len(found)
    assert set(found) == set(FailureCode)
    for code, (_, status, retryable, exit_code, meaning, fault, action) in found.items():
        failure, remedy = FAILURES[FailureCode(code)], REMEDIES[FailureCode(code)]
        assert (status, meaning, fault, action) == (
            str(failure.http_status),
            failure.sentence,
            remedy.fault,
            remedy.action,
        )
        assert exit_code == ("" if failure.exit_code == 0 else str(failure.exit_code))
        assert retryable.startswith("yes" if failure.retryable else "no")


def test_pauses_and_limits_of_retries_are_named() -> None:
    retries = {cells[0].strip("`"): cells[2] for cells in rows()}
    assert retries["SOURCE_BOT_CHECK"] == "yes, after 15 min"
    assert retries["SOURCE_FORBIDDEN"] == "yes, 1 time"


def test_the_page_has_a_table_for_each_stage() -> None:
    assert len(re.findall(r"(?m)^## ", failure_reference())) == 5


def test_a_code_without_a_remedy_is_told_where_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    remedies = {code: remedy for code, remedy in REMEDIES.items() if code is not FailureCode.SOURCE_GONE}
    monkeypatch.setattr(page, "REMEDIES", remedies)
    with pytest.raises(ValueError, match=r"^contract/stemyard_contract/remedies.py says nothing of SOURCE_GONE$"):
        failure_reference()
