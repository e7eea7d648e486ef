"""Variables and files that come from Secrets: what a part says at its start when one of them is not there."""

from collections.abc import Callable, Iterator, Mapping
from os.path import isfile
from typing import Final

SECRET_VARIABLES: Final = "STEMYARD_SECRET_VARIABLES"  # noqa: S105 - a name
"""Environment variable that lists what a deployment takes from Secrets: `VARIABLE=secret`, separated by commas."""

SECRET_FILES: Final = "STEMYARD_SECRET_FILES"  # noqa: S105 - a name
"""Environment variable that lists the files which come from Secrets, each named like its key: `/path/key=secret`."""


def absent(environment: Mapping[str, str], is_there: Callable[[str], bool] = isfile) -> list[str]:
    """Return a sentence for each variable and file that should have come from a Secret and did not.

    Kubernetes itself would hold the container back without a word of ours; so the chart makes such variables and
    volumes optional and lists them, and the part says which key of which Secret is missing.
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
