"""What each part needs of its own process: Secrets missing at the start, log lines, garbage collection, Redis URL."""

import gc
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from os.path import isfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

SECRET_VARIABLES: Final = "STEMYARD_SECRET_VARIABLES"  # noqa: S105 - a name
"""Environment variable that lists the variables set from Secrets: `VARIABLE=secret`, comma-separated."""
SECRET_FILES: Final = "STEMYARD_SECRET_FILES"  # noqa: S105 - a name
"""Environment variable that lists the files mounted from Secrets, each named like its key: `/path/key=secret`."""

SECRETS_DIR: Final = "STEMYARD_SECRETS_DIR"
"""Environment variable that names a folder of files, each named like the variable whose value it holds."""


def secrets_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of secrets that are given as files, None if they are variables.

    Raises:
        ValueError: it cannot be used; the message names the variable, and no value.
    """
    if not environment.get(SECRETS_DIR, "").strip():
        return None
    folder = Path(environment[SECRETS_DIR])
    try:
        files = [path.name for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise ValueError(f"{SECRETS_DIR} {folder}: {error.strerror}") from None
    if twice := sorted(name for name in files if environment.get(name.upper(), "").strip()):
        raise ValueError(f"{', '.join(twice)}: set as variable, and given as file in {folder} as well; keep one")
    return folder


def absent(environment: Mapping[str, str], is_there: Callable[[str], bool] = isfile) -> list[str]:
    """Return an error sentence for each variable and file whose Secret or key is missing.

    Kubernetes would not start the container and only name the Secret in an event. So the chart marks such references as
    optional and lists them, and the process reports which key of which Secret is missing.
    """
    variables = [
        f"{name} is empty: {_lacking(name, secret)}"
        for name, secret in _listed(environment.get(SECRET_VARIABLES, ""))
        if not environment.get(name, "").strip()
    ]
    files = [
        f"{path} is not there: {_lacking(path.rpartition('/')[2], secret)}"
        for path, secret in _listed(environment.get(SECRET_FILES, ""))
        if not is_there(path)
    ]
    return variables + files


def _listed(text: str) -> Iterator[tuple[str, str]]:
    for entry in filter(str.strip, text.split(",")):
        name, _, secret = entry.partition("=")
        yield name.strip(), secret.strip()


def _lacking(key: str, secret: str) -> str:
    return f"the Secret {secret} does not exist or has no key {key}; add it, then restart the pod"


_THRESHOLDS: Final = (50_000, 20, 50)
"""Thresholds of the cyclic collector, far above the default: requests and reconciles leave almost no cycles."""


def freeze_startup_objects() -> None:
    """Move startup objects to the permanent generation (gc.freeze) and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object; `extra` becomes fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


_TLS: Final = "rediss://"


def with_authority(url: str, file: str | None) -> str:
    """Return a Redis URL with a CA bundle, as redis-py reads it.

    Args:
        url: redis:// or rediss:// (TLS); without TLS the URL is returned unchanged.
        file: PEM file of the CAs to trust instead of the system's; None returns the URL unchanged.
    """
    if file is None or not url.startswith(_TLS) or "ssl_ca_certs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_ca_certs={quote(file, safe='')}"


_REFUSED_CERTIFICATE: Final = re.compile(r"certificate verify failed: (.+?)\.? \(_ssl")


def redis_fault(error: Exception) -> str:
    """Return why Redis did not answer; if its certificate is refused, also what has to be set."""
    reason = str(error) or type(error).__name__
    refused = _REFUSED_CERTIFICATE.search(reason)
    if refused is None:
        return reason
    return (
        f"its certificate is refused ({refused[1]}): REDIS_CA_FILE must have the CA that signed it, "
        "and REDIS_URL a host name that it is for"
    )
