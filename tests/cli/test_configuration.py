import stat
from pathlib import Path

import pytest

from stemyard_cli.configuration import (
    Configuration,
    ConfigurationError,
    effective,
    file_path,
    read_file,
    require,
    write_file,
)

STORED = Configuration("https://stems.example.org", 'a"key\\', "stems")


def test_only_the_user_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    write_file(path, STORED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_file(path) == STORED
    path.chmod(0o644)
    write_file(path, Configuration("https://other"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_file(path) == Configuration("https://other")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["\U0001f3b5 ü", "a\x7fb", "a\tb\n", '"\\', "\x1b"])
def test_any_text_can_be_stored(text: str, tmp_path: Path) -> None:
    write_file(tmp_path / "config.toml", Configuration(out=text))
    assert read_file(tmp_path / "config.toml").out == text


def test_bytes_that_are_no_text_are_refused_and_what_was_stored_is_kept(tmp_path: Path) -> None:
    write_file(tmp_path / "config.toml", STORED)
    with pytest.raises(ConfigurationError, match="no text"):
        write_file(tmp_path / "config.toml", Configuration(out="\udcff"))
    assert read_file(tmp_path / "config.toml") == STORED


def test_the_key_is_not_shown() -> None:
    assert STORED.key not in repr(STORED)


def test_the_command_line_precedes_the_environment_and_that_the_file(tmp_path: Path) -> None:
    environment = {"STEMYARD_CONFIG": str(tmp_path / "config.toml")}
    write_file(file_path(environment), STORED)
    assert effective(None, environment) == STORED
    environment |= {"STEMYARD_URL": "https://env/", "STEMYARD_API_KEY": "env-key"}
    assert effective(None, environment) == Configuration("https://env", "env-key", "stems")
    assert effective("https://option", environment).url == "https://option"


def test_a_stored_key_is_sent_to_its_own_server_only(tmp_path: Path) -> None:
    environment = {"STEMYARD_CONFIG": str(tmp_path / "config.toml")}
    write_file(file_path(environment), STORED)
    assert effective("https://elsewhere.example.org", environment).key == ""
    assert effective(f"{STORED.url}/", environment).key == STORED.key


def test_a_broken_file_and_a_missing_url_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert read_file(path) == Configuration()
    path.write_text("url = ")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_file(path)
    with pytest.raises(ConfigurationError, match="stemyard login"):
        require(Configuration())
