"""Installs Debian packages without starting their services."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster.errors import CommandFailedError, MissingPrerequisiteError
from localcluster.folders import Folders
from localcluster.locks import exclusive
from localcluster.machine import missing_packages
from localcluster.programs import find, run
from localcluster.progress import say, step

POLICY = Path("/usr/sbin/policy-rc.d")
LIMIT = 900.0
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}
_WAIT = ("-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")


def ensure(folders: Folders) -> None:
    """Install the packages that a cluster needs and the machine lacks.

    Raises:
        MissingPrerequisiteError: there is no apt-get; the message lists the missing packages.
        CommandFailedError: apt-get failed.
    """
    with exclusive(folders.cache / "packages.lock"):
        missing = missing_packages()
        if not missing:
            return
        if find("apt-get") is None:
            raise MissingPrerequisiteError(f"Install these programs: {', '.join(missing)}.")
        with step(f"installing {' '.join(missing)}"):
            _install(missing)


def _install(packages: tuple[str, ...]) -> None:
    try:
        run(["apt-get", *_WAIT, "update", "-qq"], timeout=LIMIT, env=ENVIRONMENT)
    except CommandFailedError as error:
        # One broken package source must not block the others.
        say(f"apt-get update had errors, continuing: {str(error).splitlines()[-1]}")
    fresh = find("containerd") is None
    with _no_services():
        run(
            ["apt-get", *_WAIT, "install", "-y", "-qq", "--no-install-recommends", *packages],
            timeout=LIMIT,
            env=ENVIRONMENT,
        )
    if fresh and Path("/run/systemd/system").exists():
        run(["systemctl", "disable", "--now", "containerd"], timeout=60)


@contextmanager
def _no_services() -> Iterator[None]:
    # Debian's policy hook keeps packages from starting their services on installation (invoke-rc.d(8)).
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
