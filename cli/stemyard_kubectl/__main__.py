"""The program `kubectl-stemyard`, which kubectl runs as `kubectl stemyard`."""

import importlib.util
import sys
from typing import Final

_INTERRUPTED: Final = 130


def main() -> int:
    """Run one command; return the exit code."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(arguments: list[str]) -> int:
    from stemyard_cli.exit_codes import ExitCode, sentence
    from stemyard_cli.output import say

    if importlib.util.find_spec("kubernetes") is None:
        say("This needs the package kubernetes: install stemyard with the extra kubectl, such as stemyard[kubectl].")
        return ExitCode.USAGE
    from stemyard_client import StemyardError
    from stemyard_kubectl.app import PROGRAM, app
    from stemyard_kubectl.arguments import in_front
    from stemyard_kubectl.errors import ClusterError
    from stemyard_kubectl.exit_codes import exit_code

    try:
        app(in_front(arguments), prog_name=PROGRAM)
    except (ClusterError, StemyardError, OSError) as error:
        say(sentence(error))
        return exit_code(error)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
