"""Packs the kubectl plugin for Krew: `python -m krew.package --out dist`."""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
MANIFEST: Final = ROOT / "krew/stemyard.yaml"
PROGRAM: Final = ROOT / "krew/kubectl-stemyard"
UNFILLED: Final = "0" * 64
"""Stands for the digest in the manifest of the repository."""
_EXECUTABLE: Final = 0o755
_READABLE: Final = 0o644


class KrewError(Exception):
    """The plugin cannot be packed; the message says why."""


def project_version() -> str:
    """Return the version of the wheel."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def package(out: Path, version: str = "") -> tuple[Path, Path]:
    """Build wheel and archive, and fill the manifest; return the archive and the manifest.

    Args:
        out: output folder.
        version: version of the release, which must be the wheel's; empty for the wheel's.

    Raises:
        KrewError: the version is another one, or uv is missing or fails.
    """
    own = project_version()
    if version not in {"", own}:
        raise KrewError(f"the release is {version}, and pyproject.toml says {own}")
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"kubectl-stemyard-v{own}.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder)
        _uv("build", "--quiet", "--wheel", "--out-dir", str(built), str(ROOT))
        wheels = list(built.glob("*.whl"))
        constraints = built / "constraints.txt"
        chosen = ("--extra", "kubectl", "--no-dev", "--no-emit-project", "--no-hashes", "--locked")
        _uv("export", "--quiet", *chosen, "--output-file", str(constraints), "--directory", str(ROOT))
        _pack(archive, [PROGRAM, *wheels, constraints, ROOT / "LICENSE"])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    manifest = out / "krew-stemyard.yaml"
    manifest.write_text(MANIFEST.read_text().replace(UNFILLED, digest))
    return archive, manifest


def _pack(archive: Path, files: list[Path]) -> None:
    """Pack files without their times and owners, so that the same files make the same archive."""
    with gzip.GzipFile(archive, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(files, key=lambda one: one.name):
            entry = tarfile.TarInfo(file.name)
            entry.size = file.stat().st_size
            entry.mode = _EXECUTABLE if file == PROGRAM else _READABLE
            with file.open("rb") as content:
                tar.addfile(entry, content)


def _uv(*arguments: str) -> None:
    program = os.environ.get("UV") or shutil.which("uv")
    if program is None:
        raise KrewError("there is no uv here; run it by `make krew`")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise KrewError(f"uv {arguments[0]} failed: {done.stderr.strip()}")


def main() -> int:
    """Pack, and print the paths; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("dist"))
    parser.add_argument("--version", default="")
    args = parser.parse_args()
    try:
        packed = package(args.out, args.version)
    except KrewError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in packed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
