"""Packages the chart for a release: `python -m charts.package --version 1.2.3 --digest api=sha256:... --out dist`."""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

from charts.helm import CHART, read_values

PINNED: Final = "files/pinned-images.yaml"
"""File of the chart that holds the digests of its own images."""

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_VARIANTS: Final = {"separatorCpu": "-cpu", "separatorCuda": "-cuda"}
"""What follows the version in the tag of an image."""
_IGNORED: Final = shutil.ignore_patterns("__pycache__")


class PackageError(Exception):
    """The chart cannot be packaged; the message says why."""


def package(version: str, digests: Mapping[str, str], out: Path) -> Path:
    """Package the chart with its images pinned by digest; return the archive.

    Args:
        version: version and appVersion of the chart.
        digests: by the chart's name for the image, such as `separatorCpu`; images not listed keep their tag.
        out: output folder.

    Raises:
        PackageError: there is no such image, or a digest is malformed.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(shutil.copytree(CHART, Path(folder) / CHART.name, ignore=_IGNORED))
        images = read_values([chart / "values.yaml"])["images"]
        (chart / PINNED).write_text(yaml.safe_dump(pinned(images, version, digests)))
        return Path(helm_python.package(chart, destination=out, version=version, app_version=version))


def pinned(images: Mapping[str, Any], version: str, digests: Mapping[str, str]) -> dict[str, str]:
    """Return digests by the references that the chart uses where the values give no other.

    Args:
        images: the chart's value `images`.
        version: version of the release; also that of the images without a tag.
        digests: by the name in `images`.

    Raises:
        PackageError: there is no such image, or a digest is malformed.
    """
    return {_reference(images, version, name): _checked(name, digest) for name, digest in digests.items()}


def _reference(images: Mapping[str, Any], version: str, name: str) -> str:
    image = images.get(name)
    if not isinstance(image, Mapping):
        raise PackageError(f"the chart has no image {name!r}")
    return f"{image['repository']}:{image['tag'] or version + _VARIANTS.get(name, '')}"


def _checked(name: str, digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise PackageError(f"{name}: {digest!r} is not a digest (sha256:...)")
    return digest


def _digest(argument: str) -> tuple[str, str]:
    image, _, digest = argument.partition("=")
    return image, digest


def main() -> int:
    """Package the chart and print the archive's path; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--digest", type=_digest, action="append", default=[], metavar="IMAGE=sha256:...")
    parser.add_argument("--out", type=Path, default=Path("dist"))
    args = parser.parse_args()
    try:
        archive = package(args.version, dict(args.digest), args.out)
    except (PackageError, helm_python.HelmError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{archive}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
