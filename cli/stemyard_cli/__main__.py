"""The program `stemyard`."""

import sys

from stemyard_cli.interruption import leave_at_once, raise_again


def main() -> int:
    """Run one command; return the exit code."""
    leave_at_once()
    if sys.argv[1:2] == ["run"]:
        # at once: what the other commands import takes as long as a song
        from stemyard_cli.local_run import run_files

        return run_files(sys.argv[2:])
    from stemyard_cli.app import PROGRAM, app
    from stemyard_cli.configuration import ConfigurationError
    from stemyard_cli.exit_codes import ExitCode, exit_code, sentence
    from stemyard_cli.output import say
    from stemyard_client import StemyardError

    raise_again()
    try:
        app(prog_name=PROGRAM)
    except ConfigurationError as error:
        say(str(error))
        return ExitCode.USAGE
    except (StemyardError, OSError) as error:
        say(sentence(error))
        return exit_code(error)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
