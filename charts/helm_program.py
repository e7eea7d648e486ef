"""Helm by its program; the only module that runs `helm`."""

import json
import subprocess
from typing import Any, Final

from charts.helm import HelmError, Release

_SLACK_SECONDS: Final = 30
"""How much longer than its own limit the program may take to say that it failed."""
_OFFLINE_SECONDS: Final = 60


class HelmProgram:
    """Runs `helm` 3 or 4; values go to its standard input."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._running: subprocess.Popen[str] | None = None

    def lint(self, release: Release) -> list[str]:
        """Return what a strict lint finds wrong; nothing means it passed."""
        try:
            self._run("lint", "--strict", str(release.chart), *self._values(release), values=release)
        except HelmError as error:
            return str(error).splitlines()
        return []

    def template(self, release: Release) -> str:
        """Return the manifests, rendered without a cluster."""
        return self._run("template", release.name, str(release.chart), *self._place(release), values=release)

    def status(self, release: Release) -> str | None:
        """Return the state of the newest revision, or None when there is no such release."""
        try:
            found = self._run("status", release.name, "--namespace", release.namespace, "--output", "json")
        except HelmError as error:
            if "release: not found" in str(error):
                return None
            raise
        return str(json.loads(found)["info"]["status"])

    def given(self, release: Release) -> dict[str, Any]:
        """Return the values that the newest revision was given."""
        place = ("--namespace", release.namespace, "--output", "json")
        return dict(json.loads(self._run("get", "values", release.name, *place)) or {})

    def test(self, release: Release, *, timeout: int) -> str:
        """Run the release's own tests and return what they print."""
        options = ("--logs", "--timeout", f"{timeout}s", "--namespace", release.namespace)
        return self._run("test", release.name, *options, timeout=timeout + _SLACK_SECONDS)

    def notes(self, release: Release) -> str:
        """Return what the newest revision tells its deployer."""
        return self._run("get", "notes", release.name, "--namespace", release.namespace)

    def apply(self, release: Release, *, wait: bool, timeout: int) -> None:
        """Install or upgrade; with `wait`, return when everything is ready."""
        waiting = ("--wait", "--timeout", f"{timeout}s") if wait else ("--timeout", f"{timeout}s")
        self._run(
            "upgrade", "--install", release.name, str(release.chart), "--reset-values", *self._place(release), *waiting,
            values=release, timeout=timeout + _SLACK_SECONDS,
        )  # fmt: skip

    def rollback(self, release: Release, *, timeout: int) -> None:
        """Go back to the revision before the newest."""
        limit = ("--timeout", f"{timeout}s")
        self._run("rollback", release.name, "--namespace", release.namespace, *limit, timeout=timeout + _SLACK_SECONDS)

    def uninstall(self, release: Release, *, timeout: int) -> None:
        """Remove the release and wait until its objects are gone; none is no error."""
        options = ("--ignore-not-found", "--wait", "--timeout", f"{timeout}s", "--namespace", release.namespace)
        self._run("uninstall", release.name, *options, timeout=timeout + _SLACK_SECONDS)

    def cancel(self) -> None:
        """End the operation that runs in another thread."""
        if self._running is not None:
            self._running.terminate()

    def _place(self, release: Release) -> list[str]:
        return ["--namespace", release.namespace, *self._values(release)]

    def _values(self, release: Release) -> list[str]:
        return ["--values", "-", *(part for expression in release.sets for part in ("--set", expression))]

    def _run(self, *arguments: str, values: Release | None = None, timeout: int = _OFFLINE_SECONDS) -> str:
        text = "" if values is None else json.dumps(dict(values.values))
        with subprocess.Popen(
            [self._program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            self._running = process
            try:
                output, problem = process.communicate(text, timeout=timeout)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise HelmError(f"helm {arguments[0]} did not end within {timeout} s") from error
            finally:
                self._running = None
        if process.returncode:
            raise HelmError(problem.strip() or output.strip())
        return output
