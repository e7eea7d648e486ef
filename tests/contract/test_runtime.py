"""A missing key of a Secret is said by name, with the Secret it should be in, and never with a value."""

from pathlib import Path

import pytest

from stemyard_contract.runtime import (
    SECRET_FILES,
    SECRET_VARIABLES,
    SECRETS_DIR,
    absent,
    redis_fault,
    secrets_folder,
    with_authority,
)


def test_nothing_is_missing_where_nothing_is_listed() -> None:
    assert absent({}) == []
    assert absent({SECRET_VARIABLES: ""}) == []


def test_each_missing_or_empty_variable_is_named_with_its_secret() -> None:
    environment = {SECRET_VARIABLES: "A=one, B=two,C=three", "A": "x", "B": " "}
    said = absent(environment)
    assert [sentence.split(";")[0] for sentence in said] == [
        "B is empty: the Secret two does not exist or has no key B",
        "C is empty: the Secret three does not exist or has no key C",
    ]


def test_each_missing_file_is_named_with_its_secret() -> None:
    environment = {SECRET_FILES: "/etc/redis/ca.crt=authority,/etc/keys/keys.yaml=team"}
    assert absent(environment, {"/etc/keys/keys.yaml"}.__contains__) == [
        "/etc/redis/ca.crt is not there: the Secret authority does not exist or has no key ca.crt; "
        "add it, then restart the pod"
    ]


def test_a_certificate_authority_is_for_tls_only() -> None:
    assert with_authority("redis://r:1/0", "/ca.crt") == "redis://r:1/0"
    assert with_authority("rediss://r:1/0", None) == "rediss://r:1/0"
    assert with_authority("rediss://r:1/0", "/ca.crt") == "rediss://r:1/0?ssl_ca_certs=%2Fca.crt"
    assert with_authority("rediss://r:1/0?a=b", "/ca.crt") == "rediss://r:1/0?a=b&ssl_ca_certs=%2Fca.crt"
    assert with_authority("rediss://r:1/0?ssl_ca_certs=x", "/ca.crt") == "rediss://r:1/0?ssl_ca_certs=x"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "TimeoutError"),
        (ConnectionError("Connection closed by server."), "Connection closed by server."),
        (
            ConnectionError(
                "Error 1 connecting to r:1. [SSL] certificate verify failed: certificate has expired (_ssl.c:1)."
            ),
            "its certificate is refused (certificate has expired): REDIS_CA_FILE must have the CA that signed it, "
            "and REDIS_URL a host name that it is for",
        ),
    ],
)
def test_a_fault_of_redis_says_what_to_do_of_a_refused_certificate(error: Exception, said: str) -> None:
    assert redis_fault(error) == said


def test_secrets_are_variables_unless_a_folder_is_named() -> None:
    assert secrets_folder({"REDIS_URL": "redis://r"}) is None
    assert secrets_folder({SECRETS_DIR: " "}) is None


def test_a_folder_of_secrets(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "REDIS_URL").write_text("redis://:hunter2@r")
    assert secrets_folder({SECRETS_DIR: str(tmp_path), "OTHER": "x", "REDIS_URL": ""}) == tmp_path


def test_a_secret_that_is_given_twice_is_named_without_its_value(tmp_path: Path) -> None:
    (tmp_path / "redis_url").write_text("redis://:hunter2@r")
    with pytest.raises(ValueError, match="redis_url: set as variable, and given as file") as refused:
        secrets_folder({SECRETS_DIR: str(tmp_path), "REDIS_URL": "redis://:hunter3@r"})
    assert "hunter" not in str(refused.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"STEMYARD_SECRETS_DIR .*No such file"):
        secrets_folder({SECRETS_DIR: str(tmp_path / "none")})
