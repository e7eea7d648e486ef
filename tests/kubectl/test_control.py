import pytest
import typer

from stemyard_cli.exit_codes import ExitCode
from stemyard_kubectl.commands.control import do_each
from stemyard_kubectl.errors import MissingError, NotPossibleError


def test_one_that_fails_ends_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    failures = {"a": MissingError("There is no a."), "b": NotPossibleError("b is completed.")}

    def action(name: str) -> str:
        if name in failures:
            raise failures[name]
        return "run 2"

    with pytest.raises(typer.Exit) as ended:
        do_each(["a", "b", "c"], action)
    assert ended.value.exit_code == ExitCode.NOT_FOUND
    written = capsys.readouterr()
    assert written.out == "c\trun 2\n"
    assert written.err.splitlines() == ["There is no a.", "b is completed."]
    do_each(["c"], action)
