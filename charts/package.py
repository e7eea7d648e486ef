"""Packages the chart for a release: `python -m charts.package --version 1.2.3 --digest api=sha256:... --out dist`."""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import helm_python

from charts.generate import CHART, generated

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
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
        values = chart / "values.yaml"
        text = values.read_text()
        for image, digest in digests.items():
            text = pinned(text, image, digest)
        values.write_text(text)
        for path, content in generated(chart).items():
            path.write_text(content)
        return Path(helm_python.package(chart, destination=out, version=version, app_version=version))


def pinned(values: str, image: str, digest: str) -> str:
    """Return the text of values.yaml with the digest of one image set.

    Raises:
        PackageError: there is no such image, or the digest is malformed.
    """
    if not _DIGEST.fullmatch(digest):
        raise PackageError(f"{image}: {digest!r} is not a digest (sha256:...)")
    images, found, rest = values.partition("\nimages:\n")
    block = re.compile(rf'(\n  {re.escape(image)}:\n(?:    .*\n)*?    digest: )""')
    changed, times = block.subn(rf'\g<1>"{digest}"', f"\n{rest}", count=1)
    if not found or not times:
        raise PackageError(f"the chart has no image {image!r}")
    return images + found + changed[1:]


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
