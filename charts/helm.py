"""Helm's operations on a release, through the Go SDK in the helm-python-sdk wheel."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

CHART: Final = Path(__file__).resolve().parent / "stemyard"
DEFAULT_TIMEOUT: Final = 300
"""Timeout of an operation in seconds."""
_WARNING: Final = 2
"""Lowest severity of a lint message that fails a strict lint."""
_MANIFESTS: Final = (".yaml", ".yml")


class HelmError(Exception):
    """Helm refused or failed; the message is Helm's own."""


class ValuesFileError(HelmError):
    """A values file cannot be read or is not a mapping."""


@dataclass(frozen=True, slots=True)
class Release:
    """A chart to install under a name.

    Attributes:
        name: release name.
        namespace: release namespace.
        chart: folder of the chart.
        values: overrides of the chart's default values; None removes a value.
        sets: `key=value` expressions in the syntax of `helm --set`; they take precedence over `values`.
    """

    name: str = "stemyard"
    namespace: str = "stemyard"
    chart: Path = CHART
    values: Mapping[str, Any] = field(default_factory=dict)
    sets: tuple[str, ...] = ()


class Helm:
    """Calls Helm in this process, one operation at a time.

    Every operation raises HelmError with Helm's own message, and honours KUBECONFIG.
    """

    def __init__(self) -> None:
        self._context: helm_python.HelmContext | None = None

    def lint(self, release: Release) -> list[str]:
        """Return the problems that a strict lint finds; an empty list means it passed."""
        with _helm_errors():
            report = helm_python.lint(release.chart, _values(release), strict=True, namespace=release.namespace)
        serious = [item["error"] for item in report["messages"] if item["severity"] >= _WARNING]
        return [str(problem) for problem in [*report["errors"], *serious]]

    def template(self, release: Release) -> str:
        """Return the manifests, rendered without a cluster."""
        with _helm_errors(), helm_python.Chart.load(release.chart) as chart:
            values = _values(release)
            chart.validate_schema(values)
            files = chart.render(values, name=release.name, namespace=release.namespace)
        manifests = {path: text for path, text in files.items() if path.endswith(_MANIFESTS) and text.strip()}
        return "".join(f"---\n# Source: {path}\n{text.strip()}\n" for path, text in sorted(manifests.items()))

    def status(self, release: Release) -> str | None:
        """Return the state of the latest revision, such as `deployed`, or None if there is no such release."""
        with _helm_errors(), _config(release) as config:
            try:
                return str(config.status(release.name)["status"])
            except helm_python.HelmNotFoundError:
                return None

    def user_values(self, release: Release) -> dict[str, Any]:
        """Return the user-supplied values of the latest revision, as `helm get values` does."""
        with _helm_errors(), _config(release) as config:
            return dict(config.get_values(release.name) or {})

    def test(self, release: Release, *, timeout: int) -> str:
        """Run the release's tests (`helm test`) and return their logs."""
        with _helm_errors(), _config(release) as config:
            return str(config.test(release.name, timeout=timeout, logs=True)["logs"])

    def notes(self, release: Release) -> str:
        """Return the rendered NOTES.txt of the latest revision."""
        with _helm_errors(), _config(release) as config:
            return str(config.status(release.name)["notes"])

    def apply(self, release: Release, *, wait: bool, timeout: int) -> None:
        """Install or upgrade; with `wait`, return when everything is ready."""
        installed = self.status(release) not in {None, "uninstalled"}
        with _helm_errors(), _config(release) as config, helm_python.HelmContext() as context:
            self._context = context
            options: dict[str, Any] = {
                "context": context,
                "namespace": release.namespace,
                "wait": "watcher" if wait else "hookOnly",
                "timeout": timeout,
            }
            try:
                if installed:
                    config.upgrade(release.chart, release.name, _values(release), reset_values=True, **options)
                else:
                    config.install(release.chart, release.name, _values(release), **options)
            finally:
                self._context = None

    def rollback(self, release: Release, *, timeout: int) -> None:
        """Roll back to the previous revision."""
        with _helm_errors(), _config(release) as config:
            config.rollback(release.name, timeout=timeout, wait="hookOnly")

    def uninstall(self, release: Release, *, timeout: int) -> None:
        """Remove the release and wait until its objects are gone; a missing release is not an error."""
        with _helm_errors(), _config(release) as config:
            config.uninstall(release.name, ignore_not_found=True, timeout=timeout, wait="watcher")

    def cancel(self) -> None:
        """Cancel the operation that runs in another thread."""
        if self._context is not None:
            self._context.cancel()


def _config(release: Release) -> helm_python.Config:
    # Go reads the environment as it was when this process started, so a single path is passed explicitly. A list of
    # paths is left to Go, since only Go merges kubeconfigs.
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
def _helm_errors() -> Iterator[None]:
    """Turn the SDK's errors into HelmError."""
    try:
        yield
    except helm_python.HelmError as error:
        raise HelmError(error.detail) from error


def read_values(paths: Iterable[Path]) -> dict[str, Any]:
    """Return values files merged in order; later ones win, lists are replaced.

    Raises:
        ValuesFileError: a file cannot be read or is not a mapping.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            values = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ValuesFileError(f"{path}: {error}") from error
        if not isinstance(values, dict):
            raise ValuesFileError(f"{path}: not a mapping of values")
        merged = merge(merged, values)
    return merged


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings in one, level by level; `over` wins."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
