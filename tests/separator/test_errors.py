"""Redaction and messages of errors."""

import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError, redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("GET https://s3.example:9000/b/k?X-Amz-Signature=a failed", "GET https://s3.example:9000/[...] failed"),
        ("see http://user:word@host/path.", "see http://host/[...]"),
        ("'https://host/a?b' and \"http://c/d\"", "'https://host/[...]' and \"http://c/[...]\""),
        ("Authorization: Bearer abc.def", "Authorization: [token]"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_redaction(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_messages_are_the_sentence_and_the_detail_without_links() -> None:
    error = SourceError(FailureCode.SOURCE_NETWORK, "While reading https://host/a?key=secret.")

    assert error.message == "The source could not be reached, or the connection broke. While reading https://host/[...]"
    assert error.exit_code == 47
