"""Does the same with each of several tracks or webhooks; one that fails ends no other."""

from collections.abc import Callable, Sequence

import typer

from stemyard_cli.exit_codes import ExitCode, exit_code, sentence
from stemyard_cli.output import print_line, say
from stemyard_cli.session import Session
from stemyard_client import ApiError, Client


def do_each(session: Session, names: Sequence[str], action: Callable[[Client, str], str]) -> None:
    """Print what became of each.

    Raises:
        Exit: with the code of the first that failed.
        StemyardError: the service could not be reached.
    """
    codes = []
    with session.client() as client:
        for name in names:
            try:
                print_line(f"{name}\t{action(client, name)}")
            except ApiError as error:
                say(f"{name}: {sentence(error)}")
                codes.append(exit_code(error))
    raise typer.Exit(codes[0] if codes else ExitCode.OK)
