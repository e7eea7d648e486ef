"""Runs other programs to completion, with a timeout."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcluster.errors import CommandFailedError

# Directories of system programs that a user's PATH does not contain on Debian.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """Return PATH with the system folders appended."""
    return os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])


def find(name: str) -> Path | None:
    """Return the program of that name on PATH or in the system folders, or None."""
    found = shutil.which(name, path=search_path())
    return Path(found) if found else None


def run(
    arguments: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    text: str | None = None,
    tied: bool = False,
) -> str:
    """Run a program to completion and return its standard output.

    Args:
        arguments: the program and its arguments.
        timeout: seconds after which the program is killed.
        env: variables added to this process's environment.
        cwd: folder to run in.
        log: file that receives all output instead; the result is then empty.
        text: standard input of the program.
        tied: kill the program when this process ends.

    Raises:
        CommandFailedError: the program is missing, failed, or timed out.
    """
    argv = [*(die_with_parent() if tied else ()), *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PATH": search_path(), **(env or {})}
    try:
        if log is None:
            return _captured(argv, timeout, environment, cwd, text)
        return _logged(argv, timeout, environment, cwd, log)
    except FileNotFoundError as error:
        raise CommandFailedError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"{argv[0]} timed out after {timeout:.0f} s") from error


def die_with_parent() -> list[str]:
    """Return a command prefix that has a program killed when the thread that started it ends; empty without setpriv."""
    return ["setpriv", "--pdeathsig", "KILL"] if find("setpriv") else []


def succeeds(arguments: Sequence[str | Path], *, timeout: float) -> bool:
    """Return whether a program succeeds within the timeout."""
    try:
        run(arguments, timeout=timeout)
    except CommandFailedError:
        return False
    return True


def _captured(argv: list[str], timeout: float, env: dict[str, str], cwd: Path | None, text: str | None) -> str:
    stdin = subprocess.DEVNULL if text is None else None
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd, input=text, stdin=stdin, check=False
    )
    if done.returncode != 0:
        raise CommandFailedError(_failure(argv, done.returncode, done.stderr or done.stdout))
    return done.stdout


def _logged(argv: list[str], timeout: float, env: dict[str, str], cwd: Path | None, log: Path) -> str:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        done = subprocess.run(
            argv,
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            env=env,
            cwd=cwd,
            check=False,
        )
    if done.returncode != 0:
        raise CommandFailedError(_failure(argv, done.returncode, log.read_text(errors="replace")) + f"\n(log: {log})")
    return ""


def _failure(argv: list[str], code: int, output: str) -> str:
    tail = "\n".join(output.strip().splitlines()[-12:])
    return f"`{' '.join(argv[:4])}{' ...' if len(argv) > 4 else ''}` exited with status {code}\n{tail}"
