"""Whether a GPU was asked for: by a setting, or by the device plugin that gave this container one. Pure."""

from collections.abc import Mapping
from typing import Final

_GIVEN: Final = "NVIDIA_VISIBLE_DEVICES"
"""Set by NVIDIA's device plugin in containers whose pod asked for a GPU."""
_NONE: Final = frozenset({"", "none", "void"})


def asked_device(setting: str, environment: Mapping[str, str]) -> str:
    """Return `cuda` where a GPU was asked for, so that its absence is a failure; otherwise the setting itself."""
    if setting == "auto" and environment.get(_GIVEN, "") not in _NONE:
        return "cuda"
    return setting
