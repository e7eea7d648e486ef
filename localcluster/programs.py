"""The door to other programs: every one that is run to its end is run here, with a time limit."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcluster.errors import CommandFailedError

# Debian keeps system programs where a plain user's PATH does not look.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """PATH with the system folders added at its end."""
    return os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])


def find(name: str) -> Path | None:
    """The program of that name on PATH or in the system folders, or None."""
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
    """Run a program to its end and return what it printed.

    Args:
        arguments: the program and its arguments.
        timeout: seconds after which it is killed.
        env: variables added to this process's environment.
        cwd: folder to run in.
        log: file that receives all output instead; the answer is then empty.
        text: what the program reads on standard input.
        tied: the program is killed when this process is.

    Raises:
        CommandFailedError: it is not there, ended with an error, or ran past the limit.
    """
    argv = [*(tie() if tied else ()), *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PATH": search_path(), **(env or {})}
    try:
        if log is None:
            return _captured(argv, timeout, environment, cwd, text)
        return _logged(argv, timeout, environment, cwd, log)
    except FileNotFoundError as error:
        raise CommandFailedError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"{argv[0]} did not end within {timeout:.0f} s") from error


def tie() -> list[str]:
    """The start of a command line whose program is killed when the thread that starts it ends, however it ends."""
    return ["setpriv", "--pdeathsig", "KILL"] if find("setpriv") else []


def succeeds(arguments: Sequence[str | Path], *, timeout: float) -> bool:
    """Whether a program ends well in its time."""
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
        raise CommandFailedError(_sentence(argv, done.returncode, done.stderr or done.stdout))
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
        raise CommandFailedError(_sentence(argv, done.returncode, log.read_text(errors="replace")) + f"\n(log: {log})")
    return ""


def _sentence(argv: list[str], code: int, output: str) -> str:
    tail = "\n".join(output.strip().splitlines()[-12:])
    return f"`{' '.join(argv[:4])}{' ...' if len(argv) > 4 else ''}` ended with status {code}\n{tail}"
