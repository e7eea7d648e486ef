"""Removes files that no part of Stemyard uses from an image's virtual environment: `python3 slim.py /opt/stemyard`.

It runs in the image build with the standard library only. tests/release/test_images.py checks that no part imports or
opens a removed file.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

UNUSED: Final = (
    # model and API classes of the Kubernetes clients: the parts send and receive raw JSON
    "kubernetes/client/api/*.py",
    "kubernetes/client/models/*.py",
    "kubernetes/aio/client/api/*.py",
    "kubernetes/aio/client/models/*.py",
    # service descriptions of AWS
    "botocore/data/*/**/*",
    # tools that create and convert models rather than run them
    "onnxruntime/quantization/**/*",
    "onnxruntime/tools/**/*",
    "onnxruntime/transformers/**/*",
    # test suites of packages
    "numpy/**/tests/**/*",
    "google/**/tests/**/*",
)
"""Glob patterns of removed files, relative to site-packages."""
NEEDED: Final = (
    "kubernetes/**/__init__.py",
    # kopf imports these for object metadata
    "kubernetes/client/models/v1_object_meta.py",
    "kubernetes/client/models/v1_owner_reference.py",
    "kubernetes/client/models/v1_managed_fields_entry.py",
    "botocore/data/s3/**/*",
    # used to obtain credentials if no access key is set
    "botocore/data/sts/**/*",
    "botocore/data/sso/**/*",
    "botocore/data/sso-oidc/**/*",
)
"""Glob patterns of files that are kept although UNUSED matches them."""


def unused(packages: Path) -> set[Path]:
    """Return the files in site-packages that no part uses, including their compiled files."""
    sources = _found(packages, UNUSED) - _found(packages, NEEDED)
    kept = {path for path in sources if "__pycache__" not in path.parts}
    return kept | {compiled for path in kept for compiled in _compiled(path)}


def _found(folder: Path, patterns: tuple[str, ...]) -> set[Path]:
    return {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def _compiled(source: Path) -> Iterator[Path]:
    return (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")


def main(environment: Path) -> None:
    """Remove the unused files from a virtual environment, and print their size."""
    removed = 0
    for packages in environment.glob("lib/python*/site-packages"):
        for path in unused(packages):
            removed += path.stat().st_size
            path.unlink()
    print(f"removed {removed / 2**20:.0f} MiB of unused files")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
