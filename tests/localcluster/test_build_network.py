"""What build steps are given to reach registries."""

import configparser
import tomllib
from pathlib import Path

from localcluster import build_network

ENVIRONMENT = {
    "PIP_INDEX_URL": "https://mirror.test/simple",
    "PIP_CERT": "/somewhere/ca.pem",
    "PIP_CACHE_DIR": "/home/ann/.cache/pip",
    "PIP_DEFAULT_TIMEOUT": "180",
    "UV_INDEX_URL": "https://mirror.test/simple",
    "UV_DEFAULT_INDEX": "https://newer.test/simple",
    "UV_EXTRA_INDEX_URL": "https://a.test https://b.test",
    "UV_CACHE_DIR": "/home/ann/.cache/uv",
    "HOME": "/home/ann",
}


def test_pip_gets_the_way_to_its_registry_but_nothing_of_this_machine() -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(build_network.pip_configuration(ENVIRONMENT))
    assert dict(parsed["global"]) == {
        "cert": "/etc/ssl/certs/ca-certificates.crt",
        "index-url": "https://mirror.test/simple",
        "default-timeout": "180",
    }


def test_uv_gets_the_same_in_its_own_words() -> None:
    assert tomllib.loads(build_network.uv_configuration(ENVIRONMENT)) == {
        "system-certs": True,
        "index-url": "https://newer.test/simple",
        "extra-index-url": ["https://a.test", "https://b.test"],
    }


def test_without_variables_only_the_certificates_are_named() -> None:
    assert tomllib.loads(build_network.uv_configuration({})) == {"system-certs": True}
    assert build_network.pip_configuration({}) == "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"


def test_the_machines_own_certificate_bundle_is_used() -> None:
    assert build_network.certificates({"SSL_CERT_FILE": "/own/ca.pem"}) == Path("/own/ca.pem")
    assert build_network.certificates({}) == build_network.CERTIFICATES
