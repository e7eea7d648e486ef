"""A missing key of a Secret is said by name, with the Secret it should be in, and never with a value."""

from stemyard_contract.runtime import SECRET_FILES, SECRET_VARIABLES, absent, with_authority


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
