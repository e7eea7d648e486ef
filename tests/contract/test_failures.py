"""The failure table is whole and unambiguous."""

from collections import Counter
from typing import Final

import pytest

from stemyard_contract.failures import FAILURES, Failure, FailureCode, Stage, failure_of_exit_code

TABLE: Final = """
UNAUTHENTICATED request final 0 401 0 None
FORBIDDEN request final 0 403 0 None
RATE_LIMITED request retryable 0 429 0 None
QUOTA_EXCEEDED request retryable 0 429 0 None
IDEMPOTENCY_MISMATCH request final 0 422 0 None
INVALID_REQUEST request final 0 422 0 None
TRACK_NOT_FOUND request final 0 404 0 None
NOT_FOUND request final 0 404 0 None
METHOD_NOT_ALLOWED request final 0 405 0 None
SHARE_ENDED request final 0 410 0 None
TRACK_NOT_COMPLETED request final 0 409 0 None
MODEL_NOT_ENABLED request final 0 422 0 None
SOURCE_DISABLED request final 30 403 0 None
REQUEST_TOO_LARGE request final 0 413 0 None
HEADERS_TOO_LARGE request final 0 431 0 None
UNSUPPORTED_ENCODING request final 0 415 0 None
REQUEST_TIMEOUT request retryable 0 408 0 None
UPLOAD_MISSING request retryable 0 409 0 None
UPLOAD_NOT_FOUND request final 0 404 0 None
CLAIMS_FULL request final 0 409 0 None
WEBHOOK_EXISTS request final 0 409 0 None
WEBHOOK_LIMIT request final 0 409 0 None
NAME_CONFLICT request final 0 409 0 None
TRACK_COMPLETED request final 0 409 0 None
BEING_DELETED request retryable 0 503 0 None
UNAVAILABLE request retryable 0 503 0 None
NOT_CONFIGURED request final 0 501 0 None
INTERNAL control retryable 10 500 0 None
INTERNAL_IO control retryable 11 500 0 None
INTERNAL_CONFIG control final 12 500 0 None
DESK_UNREACHABLE control retryable 13 503 0 None
SOURCE_NOT_FOUND fetch final 31 404 0 None
SOURCE_UNAVAILABLE fetch final 32 404 0 None
SOURCE_LOGIN_REQUIRED fetch final 33 422 0 None
SOURCE_AGE_RESTRICTED fetch final 34 422 0 None
SOURCE_GEO_BLOCKED fetch final 35 422 0 None
SOURCE_LIVE fetch final 36 422 0 None
SOURCE_DRM fetch final 37 422 0 None
SOURCE_TOO_LONG fetch final 38 422 0 None
SOURCE_TOO_LARGE fetch final 39 413 0 None
SOURCE_TOO_SHORT fetch final 40 422 0 None
SOURCE_UNDECODABLE fetch final 41 422 0 None
SOURCE_ADDRESS_REFUSED fetch final 42 422 0 None
SOURCE_GONE fetch final 43 409 0 None
OBJECT_NOT_FOUND fetch final 49 404 0 None
SOURCE_BOT_CHECK fetch retryable 44 503 900 None
SOURCE_RATE_LIMITED fetch retryable 45 503 900 None
SOURCE_FORBIDDEN fetch retryable 46 503 0 1
SOURCE_NETWORK fetch retryable 47 503 0 None
EXTRACTOR_BROKEN fetch retryable 48 503 0 1
MODEL_MISSING separate final 60 500 0 None
MODEL_CORRUPT separate final 61 500 0 None
DEVICE_UNAVAILABLE separate retryable 62 503 0 None
OUT_OF_MEMORY separate retryable 63 503 0 None
SEPARATION_INVALID separate retryable 64 500 0 None
LINK_REFUSED publish final 80 500 0 None
STORE_UNREACHABLE publish retryable 81 503 0 None
ARTIFACT_MISMATCH publish retryable 82 500 0 None
JOB_LOST control retryable 0 500 0 None
POD_FAILED control retryable 0 500 0 None
DISRUPTED control final 0 503 0 None
EVICTED control retryable 0 503 0 None
FETCH_DEADLINE control retryable 0 504 0 None
START_DEADLINE control retryable 0 504 0 None
QUEUE_DEADLINE control final 0 504 0 None
SEPARATE_DEADLINE control retryable 0 504 0 None
CANCELLED control final 0 409 0 None
"""
"""Code, stage, whether a retry can help, exit code, HTTP status, minimum delay in seconds, maximum retries."""


def described(row: Failure) -> str:
    kind = "retryable" if row.retryable else "final"
    retries = f"{row.least_pause_seconds:g} {row.most_retries}"
    return f"{row.code} {row.stage} {kind} {row.exit_code} {row.http_status} {retries}"


def test_the_table_is_what_clients_alerts_and_retries_depend_on() -> None:
    """A change here changes the contract: rows are added, and none is renamed or removed."""
    assert [described(row) for row in FAILURES.values()] == TABLE.strip().splitlines()


def test_every_code_has_a_row() -> None:
    assert set(FAILURES) == set(FailureCode)


def test_a_row_has_neither_delay_nor_limit_unless_it_says_so() -> None:
    row = Failure(FailureCode.INTERNAL, Stage.CONTROL, True, 10, 500, "x")
    assert (row.least_pause_seconds, row.most_retries) == (0, None)


def test_exit_codes_are_unique_and_leave_shell_and_signals_alone() -> None:
    used = Counter(row.exit_code for row in FAILURES.values() if row.exit_code)
    assert max(used.values()) == 1
    assert all(10 <= code <= 120 for code in used)


def test_exit_codes_are_in_the_range_of_their_stage() -> None:
    any_stage = range(10, 30)
    ranges = {
        Stage.REQUEST: range(30, 60),  # what the API accepted and fetch finds disabled
        Stage.FETCH: range(30, 60),
        Stage.SEPARATE: range(60, 80),
        Stage.PUBLISH: range(80, 100),
        Stage.CONTROL: any_stage,
    }
    assert [row.code for row in FAILURES.values() if row.exit_code and row.exit_code not in ranges[row.stage]] == []


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
