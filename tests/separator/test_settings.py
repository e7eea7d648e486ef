"""Settings from environment variables."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from stemyard_separator.settings import SeparatorSettings


def test_settings_parse_networks() -> None:
    read = SeparatorSettings.from_environment(
        {"STEMYARD_FETCH_ALLOWED_CIDRS": "127.0.0.1/32, fd00::/8", "HOME": "/tmp"}
    )

    assert [str(network) for network in read.fetch_allowed_cidrs] == ["127.0.0.1/32", "fd00::/8"]
    assert SeparatorSettings.from_environment({}).fetch_allowed_cidrs == ()


def test_unknown_variables_are_ignored() -> None:
    read = SeparatorSettings.from_environment(
        {"STEMYARD_THREADS": "3", "STEMYARD_COMPILE": "true", "STEMYARD_WORK_DIR": "/elsewhere", "STEMYARD_CACHE": "x"}
    )

    assert (read.threads, read.compile, str(read.work_dir)) == (3, True, "/elsewhere")


@pytest.mark.parametrize(("name", "text"), [("threads", "0"), ("threads", ""), ("device", "tpu"), ("compile", "maybe")])
def test_an_invalid_setting_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SeparatorSettings.from_environment({f"STEMYARD_{name.upper()}": text})

    assert refused.value.errors()[0]["loc"] == (name,)


def test_the_proxy_is_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "proxyUrl").write_text("http://me:hunter2@proxy:3128\n")
    variables = {
        "STEMYARD_YOUTUBE_PROXY": "http://proxy:1",
        "STEMYARD_YOUTUBE_PROXY_FILE": str(tmp_path / "proxyUrl"),
    }
    assert SeparatorSettings.from_environment({}).proxy is None
    for name, proxy in zip(variables, ("http://proxy:1", "http://me:hunter2@proxy:3128"), strict=True):
        assert SeparatorSettings.from_environment({name: variables[name]}).proxy == proxy
    with pytest.raises(ValidationError, match="are both set; keep one"):
        SeparatorSettings.from_environment(variables)
