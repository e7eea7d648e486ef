"""What is asked of Helm, whoever answers: the program on PATH, else Helm's own Go SDK."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

CHART: Final = Path(__file__).resolve().parent / "stemyard"
DEFAULT_TIMEOUT: Final = 300
"""Seconds that an operation may take."""


class HelmError(Exception):
    """Helm refused or failed; the message is Helm's own."""


class HelmMissingError(HelmError):
    """There is no Helm on this machine."""


class ValuesFileError(HelmError):
    """A values file cannot be read or is not a mapping."""


@dataclass(frozen=True, slots=True)
class Release:
    """A chart to be installed under a name.

    Attributes:
        name: of the release.
        namespace: that it lives in.
        chart: folder of the chart.
        values: what differs from the chart's own values; None removes a value.
        sets: `key=value` expressions as `helm --set` takes them; they win over values.
    """

    name: str = "stemyard"
    namespace: str = "stemyard"
    chart: Path = CHART
    values: Mapping[str, Any] = field(default_factory=dict)
    sets: tuple[str, ...] = ()


class Helm(Protocol):
    """Helm's operations. All raise HelmError with Helm's own words, and honour KUBECONFIG."""

    def lint(self, release: Release) -> list[str]:
        """Return what a strict lint finds wrong; nothing means it passed."""
        ...

    def template(self, release: Release) -> str:
        """Return the manifests, rendered without a cluster."""
        ...

    def status(self, release: Release) -> str | None:
        """Return the state of the newest revision, such as `deployed`, or None when there is no such release."""
        ...

    def given(self, release: Release) -> dict[str, Any]:
        """Return the values that the newest revision was given."""
        ...

    def test(self, release: Release, *, timeout: int) -> str:
        """Run the release's own tests and return what they print."""
        ...

    def notes(self, release: Release) -> str:
        """Return what the newest revision tells its deployer."""
        ...

    def apply(self, release: Release, *, wait: bool, timeout: int) -> None:
        """Install or upgrade; with `wait`, return when everything is ready."""
        ...

    def rollback(self, release: Release, *, timeout: int) -> None:
        """Go back to the revision before the newest."""
        ...

    def uninstall(self, release: Release, *, timeout: int) -> None:
        """Remove the release and wait until its objects are gone; none is no error."""
        ...

    def cancel(self) -> None:
        """End the operation that runs in another thread."""
        ...


def find_helm() -> Helm:
    """Return the Helm of this machine.

    Raises:
        HelmMissingError: neither the program nor the SDK is there.
    """
    program = shutil.which("helm")
    if program:
        from charts.helm_program import HelmProgram

        return HelmProgram(program)
    try:
        from charts.helm_sdk import HelmSdk
    except ImportError as error:
        raise HelmMissingError("no helm on PATH and no helm-python-sdk: install Helm, or run `uv sync`") from error
    return HelmSdk()


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
