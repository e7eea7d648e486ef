"""Removes from an image's environment what no part of Stemyard uses: `python3 slim.py /opt/stemyard`.

It runs while an image is built, so it needs nothing but Python. tests/release/test_images.py holds it to the files that
the parts open and import.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

UNUSED: Final = (
    # a class for each kind and each call of Kubernetes: the parts speak JSON, by the clients' connections
    "kubernetes/client/api/*.py",
    "kubernetes/client/models/*.py",
    "kubernetes/aio/client/api/*.py",
    "kubernetes/aio/client/models/*.py",
    # descriptions of the services of AWS
    "botocore/data/*/**/*",
    # what makes and changes networks, rather than running them
    "onnxruntime/quantization/**/*",
    "onnxruntime/tools/**/*",
    "onnxruntime/transformers/**/*",
    # packages' tests of themselves
    "numpy/**/tests/**/*",
    "google/**/tests/**/*",
)
"""Files of installed packages, as patterns from their folder on."""
NEEDED: Final = (
    "kubernetes/**/__init__.py",
    # kopf takes these where it takes metadata
    "kubernetes/client/models/v1_object_meta.py",
    "kubernetes/client/models/v1_owner_reference.py",
    "kubernetes/client/models/v1_managed_fields_entry.py",
    "botocore/data/s3/**/*",
    # who has no key of the bucket's signs in with one of these
    "botocore/data/sts/**/*",
    "botocore/data/sso/**/*",
    "botocore/data/sso-oidc/**/*",
)
"""What stays all the same."""


def unused(packages: Path) -> set[Path]:
    """Return the files below a folder of installed packages that no part uses, compiled ones included."""
    sources = _found(packages, UNUSED) - _found(packages, NEEDED)
    kept = {path for path in sources if "__pycache__" not in path.parts}
    return kept | {compiled for path in kept for compiled in _compiled(path)}


def _found(folder: Path, patterns: tuple[str, ...]) -> set[Path]:
    return {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def _compiled(source: Path) -> Iterator[Path]:
    return (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")


def main(environment: Path) -> None:
    """Remove them from a virtual environment, and say how much that was."""
    removed = 0
    for packages in environment.glob("lib/python*/site-packages"):
        for path in unused(packages):
            removed += path.stat().st_size
            path.unlink()
    print(f"removed {removed / 2**20:.0f} MiB that nothing uses")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
