"""Questions to the user."""

from collections.abc import Callable
from typing import TypeVar

import typer

Answer = TypeVar("Answer")


def answer(ask: Callable[[], Answer]) -> Answer:
    """Return what a question is answered with.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, which typer takes for a refusal.
    """
    try:
        return ask()
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
