"""Runs tests against a mutant in a forked process, in which the mutated module is imported instead of its file."""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, NoReturn

import pytest

from bench.mutation.mutants import Mutant
from bench.mutation.subjects import ROOT, Subject

_OWN: Final = ("bench", "charts", "conftest", "stemyard_", "tests")
"""Modules that each process imports anew."""
_OPTIONS: Final = (
    *("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"),
    *("-k", "not wait_for_each_other and not a_crash_while_copying"),  # slow, and of no single module
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of plugins that are imported before the fork
)
_SLACK_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05


class BaselineError(Exception):
    """The tests fail, or there are none, without a mutation."""


class _Importer:
    """Finds the mutated module before its file is looked for."""

    def __init__(self, subject: Subject, code: CodeType) -> None:
        self._module, self._path, self._code = subject.module, str(ROOT / subject.path), code

    def find_spec(self, name: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)  # type: ignore[arg-type]

    def create_module(self, _spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, vars(module))


def baseline(subject: Subject) -> float:
    """Return the seconds that the tests take with the module as it is.

    They run twice: after the first time this process imports what they import from other projects, and the second time
    must show that this, and the way in which a mutant is run, changes no result.

    Raises:
        BaselineError: the tests fail, or there are none.
    """
    unchanged = compile(subject.source, str(ROOT / subject.path), "exec")
    with tempfile.NamedTemporaryFile("r") as names:
        _pass(subject, unchanged, Path(names.name))
        for name in names.read().split():
            with contextlib.suppress(Exception):  # what cannot be imported alone, the tests import themselves
                importlib.import_module(name)
    started = time.monotonic()
    _pass(subject, unchanged)
    return time.monotonic() - started


def _pass(subject: Subject, code: CodeType, imported: Path | None = None) -> None:
    _, status = os.waitpid(_fork(subject, code, imported), 0)
    if os.waitstatus_to_exitcode(status) != pytest.ExitCode.OK:
        raise BaselineError(f"{subject.name} fails without a mutation: pytest {' '.join(subject.tests)}")


@dataclass(slots=True)
class _Running:
    mutant: Mutant
    deadline: float


def survivors(subject: Subject, mutants: Sequence[Mutant], seconds: float, jobs: int) -> Iterator[Mutant]:
    """Yield the mutants that the tests do not notice, `jobs` processes at a time; a mutant that hangs is noticed."""
    waiting, running = list(reversed(mutants)), dict[int, _Running]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[_fork(subject, mutant.code)] = _Running(mutant, time.monotonic() + 4 * seconds + _SLACK_SECONDS)
        for process, one in list(running.items()):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                del running[process]
                if os.waitstatus_to_exitcode(status) == pytest.ExitCode.OK:
                    yield one.mutant
            elif time.monotonic() > one.deadline:
                os.killpg(process, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def _fork(subject: Subject, code: CodeType, imported: Path | None = None) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _run(subject, code, imported)
    return process


def _run(subject: Subject, code: CodeType, imported: Path | None) -> NoReturn:
    """Run the tests and end this process with pytest's exit code, without the parent's exit handlers."""
    exit_code = 3
    try:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
            sys.meta_path.insert(0, _Importer(subject, code))
            exit_code = int(pytest.main([*_OPTIONS, f"--basetemp={folder}/pytest", *subject.tests]))
            if imported is not None:
                imported.write_text("\n".join(name for name in list(sys.modules) if not name.startswith(_OWN)))
    finally:
        os._exit(exit_code)
