"""Which installation is meant and the key to it: from the command line, the environment and a file of the user."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from stemyard_client import StemyardError

SETTINGS: Final = ("url", "key", "out")
_MODE: Final = 0o600


class ConfigurationError(StemyardError):
    """No installation is configured, or the file cannot be used; the message says what to do."""

    code = "not_configured"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings; empty ones are not set.

    Attributes:
        url: address of the API.
        key: API key.
        out: folder for stems.
    """

    url: str = ""
    key: str = field(default="", repr=False)
    out: str = ""


def file_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the user's file: STEMYARD_CONFIG, else `stemyard/config.toml` in the configuration folder."""
    if named := environment.get("STEMYARD_CONFIG"):
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "stemyard" / "config.toml"


def read_file(path: Path) -> Configuration:
    """Return the settings of the file; none if it does not exist.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Configuration()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    return Configuration(**{name: str(found[name]) for name in SETTINGS if name in found})


def write_file(path: Path, settings: Configuration) -> None:
    """Write the settings so that only the user can read them, and at once or not at all.

    Raises:
        OSError: it cannot be written.
        ConfigurationError: a value is no text.
    """
    try:
        "".join(getattr(settings, name) for name in SETTINGS).encode()
    except UnicodeEncodeError:
        raise ConfigurationError("A value has bytes that are no text in UTF-8.") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    lines = [f"{name} = {_quoted(value)}\n" for name in SETTINGS if (value := getattr(settings, name))]
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _quoted(value: str) -> str:
    """Return a text as a string of TOML, which takes none of JSON's pairs of surrogates, and DEL escaped only."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def effective(url: str | None, environment: Mapping[str, str]) -> Configuration:
    """Return the settings that count: the command line's, then the environment's, then the file's.

    The file's key is for the file's URL only, so that it is never sent to another server.
    """
    stored = read_file(file_path(environment))
    address = (url or environment.get("STEMYARD_URL") or stored.url).rstrip("/")
    key = environment.get("STEMYARD_API_KEY") or (stored.key if address == stored.url.rstrip("/") else "")
    return replace(stored, url=address, key=key)


def require(settings: Configuration) -> Configuration:
    """Return the settings if they name an installation.

    Raises:
        ConfigurationError: they do not.
    """
    if not settings.url:
        raise ConfigurationError(
            "No installation is configured. Run `stemyard login`, or set STEMYARD_URL and STEMYARD_API_KEY. "
            "`stemyard run FILE` needs none: it separates on this machine."
        )
    return settings
