"""Durations on the command line: `90s`, `30m`, `12h`, `7d`."""

import re
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> int:
    """Return the seconds of a duration.

    Raises:
        ValueError: it is not one; the message says how one looks.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 12h or 7d")
    return int(found[1]) * _SECONDS[found[2]]
