"""Answers of an API server as errors."""

import json

import pytest

from stemyard_cli.exit_codes import ExitCode
from stemyard_kubectl.exit_codes import exit_code
from stemyard_kubectl.refusals import refusal

CANNOT = 'User "ann" cannot list resource "separationjobs" in API group "stemyard.dev"'
RBAC = f"separationjobs.stemyard.dev is forbidden: {CANNOT}"


@pytest.mark.parametrize(
    ("status", "message", "said", "code"),
    [
        (403, f'{RBAC} in the namespace "music"', "You (ann) may not list separationjobs in the namespace music.", 3),
        (403, f"{RBAC} at the cluster scope", "Ask for a ClusterRole with the rule", 3),
        (403, 'separationjobs "x" is forbidden: a policy denied it', "a policy denied it", 3),
        (401, "Unauthorized", "does not know you", 3),
        (404, "the server could not find the requested resource", "install the chart's CRDs", 4),
        (409, "the object has been modified", "modified", 1),
        (422, "spec.stems: Invalid value", "Invalid value", 1),
        (429, "too many requests", "too many", 5),
        (503, "apiserver is shutting down", "shutting down", 5),
    ],
)
def test_each_is_told_in_words_and_by_its_exit_code(status: int, message: str, said: str, code: int) -> None:
    error = refusal(status, json.dumps({"kind": "Status", "message": message}).encode())
    assert said in str(error)
    assert exit_code(error) == ExitCode(code)


def test_a_missing_object_is_not_a_missing_crd() -> None:
    status = {"message": 'separationjobs "x" not found', "details": {"name": "x"}}
    assert str(refusal(404, json.dumps(status).encode())) == 'separationjobs "x" not found'


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null"])
def test_what_is_no_status_is_an_error_too(body: bytes) -> None:
    assert exit_code(refusal(502, body)) == ExitCode.UNREACHABLE
