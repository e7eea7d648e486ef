"""Options of the connection may be anywhere on the command line, as kubectl's; the program wants them in front."""

from collections.abc import Sequence
from typing import Final

_WITH_VALUE: Final = ("--kubeconfig", "--context", "--namespace", "-n")


def in_front(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the options of the connection moved to the front; what follows `--` stays."""
    front: list[str] = []
    rest: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
        elif argument in _WITH_VALUE:
            front += [argument, *([value] if (value := next(left, None)) is not None else [])]
        elif _is_joined(argument):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def _is_joined(argument: str) -> bool:
    """Return whether an argument is an option with its value, such as `--context=home` or `-nmusic`."""
    long = any(argument.startswith(f"{option}=") for option in _WITH_VALUE)
    return long or (argument.startswith("-n") and len(argument) > 2 and not argument.startswith("--"))
