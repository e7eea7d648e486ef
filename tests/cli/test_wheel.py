"""What is installed has the program and the types of the client."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_the_program_and_the_client(tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("no uv here: run it through `make test-unit`")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT], check=True)
    [wheel] = tmp_path.glob("stemyard-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        [entries] = [name for name in packed if name.endswith("/entry_points.txt")]
        programs = archive.read(entries).decode()
        assert "stemyard = stemyard_cli.__main__:main" in programs
        assert "kubectl-stemyard = stemyard_kubectl.__main__:main" in programs
    for package in ("client/stemyard_client", "cli/stemyard_cli", "cli/stemyard_mcp", "cli/stemyard_kubectl"):
        folder = ROOT / package
        there = {str(path.relative_to(folder.parent)) for path in folder.rglob("*") if path.suffix in {".py", ".typed"}}
        assert there <= packed
