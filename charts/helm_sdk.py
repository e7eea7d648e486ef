"""Helm by its own Go SDK, from the helm-python-sdk wheel; the only module that imports it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import helm_python

from charts.helm import HelmError, Release, merge

_WARNING: Final = 2
"""Severity of a lint message from which on a strict lint fails."""
_MANIFESTS: Final = (".yaml", ".yml")


class HelmSdk:
    """Calls Helm in this process. One operation at a time."""

    def __init__(self) -> None:
        self._context: helm_python.HelmContext | None = None

    def lint(self, release: Release) -> list[str]:
        """Return what a strict lint finds wrong; nothing means it passed."""
        with _own_words():
            report = helm_python.lint(release.chart, _values(release), strict=True, namespace=release.namespace)
        serious = [item["error"] for item in report["messages"] if item["severity"] >= _WARNING]
        return [str(problem) for problem in [*report["errors"], *serious]]

    def template(self, release: Release) -> str:
        """Return the manifests, rendered without a cluster."""
        with _own_words(), helm_python.Chart.load(release.chart) as chart:
            values = _values(release)
            chart.validate_schema(values)
            files = chart.render(values, name=release.name, namespace=release.namespace)
        manifests = {path: text for path, text in files.items() if path.endswith(_MANIFESTS) and text.strip()}
        return "".join(f"---\n# Source: {path}\n{text.strip()}\n" for path, text in sorted(manifests.items()))

    def status(self, release: Release) -> str | None:
        """Return the state of the newest revision, or None when there is no such release."""
        with _own_words(), _config(release) as config:
            try:
                return str(config.status(release.name)["status"])
            except helm_python.HelmNotFoundError:
                return None

    def given(self, release: Release) -> dict[str, Any]:
        """Return the values that the newest revision was given."""
        with _own_words(), _config(release) as config:
            return dict(config.get_values(release.name) or {})

    def test(self, release: Release, *, timeout: int) -> str:
        """Run the release's own tests and return what they print."""
        with _own_words(), _config(release) as config:
            return str(config.test(release.name, timeout=timeout, logs=True)["logs"])

    def notes(self, release: Release) -> str:
        """Return what the newest revision tells its deployer."""
        with _own_words(), _config(release) as config:
            return str(config.status(release.name)["notes"])

    def apply(self, release: Release, *, wait: bool, timeout: int) -> None:
        """Install or upgrade; with `wait`, return when everything is ready."""
        known = self.status(release) not in {None, "uninstalled"}
        with _own_words(), _config(release) as config, helm_python.HelmContext() as context:
            self._context = context
            options: dict[str, Any] = {
                "context": context,
                "namespace": release.namespace,
                "wait": "watcher" if wait else "hookOnly",
                "timeout": timeout,
            }
            try:
                if known:
                    config.upgrade(release.chart, release.name, _values(release), reset_values=True, **options)
                else:
                    config.install(release.chart, release.name, _values(release), **options)
            finally:
                self._context = None

    def rollback(self, release: Release, *, timeout: int) -> None:
        """Go back to the revision before the newest."""
        with _own_words(), _config(release) as config:
            config.rollback(release.name, timeout=timeout, wait="hookOnly")

    def uninstall(self, release: Release, *, timeout: int) -> None:
        """Remove the release and wait until its objects are gone; none is no error."""
        with _own_words(), _config(release) as config:
            config.uninstall(release.name, ignore_not_found=True, timeout=timeout, wait="watcher")

    def cancel(self) -> None:
        """End the operation that runs in another thread."""
        if self._context is not None:
            self._context.cancel()


def _config(release: Release) -> helm_python.Config:
    # One path is given by name: Go sees the environment as it was when this process began. A list only Go can read.
    paths = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    return helm_python.Config(
        namespace=release.namespace, kubeconfig_path=paths[0] or None if len(paths) == 1 else None
    )


def _values(release: Release) -> dict[str, Any]:
    values = dict(release.values)
    for expression in release.sets:
        values = merge(values, helm_python.parse_set_string(expression))
    return values


@contextmanager
def _own_words() -> Iterator[None]:
    try:
        yield
    except helm_python.HelmError as error:
        raise HelmError(error.detail) from error
