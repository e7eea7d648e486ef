"""Environment variables that come from Secrets: what a part says at its start when one of them is not there."""

from collections.abc import Mapping
from typing import Final

SECRET_VARIABLES: Final = "STEMYARD_SECRET_VARIABLES"  # noqa: S105 - a name
"""Environment variable that lists what a deployment takes from Secrets: `VARIABLE=secret`, separated by commas."""


def absent(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that should have come from a Secret and did not.

    Kubernetes itself would hold the container back without a word of ours; so the chart makes such variables optional
    and lists them, and the part says which key of which Secret is missing.
    """
    pairs = (entry.partition("=") for entry in environment.get(SECRET_VARIABLES, "").split(",") if entry.strip())
    return [
        f"{name.strip()} is empty: the Secret {secret.strip()} does not exist or has no key {name.strip()}; "
        "add it, then restart the pod"
        for name, _, secret in pairs
        if not environment.get(name.strip(), "").strip()
    ]
