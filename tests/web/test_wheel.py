"""What is installed has the page: a wheel, as the image's build makes it."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_file_of_the_page(tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("no uv here: run it through `make test-browser`")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT], check=True)
    [wheel] = tmp_path.glob("stemyard-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("stemyard_api/web/")}
    there = {f"stemyard_api/web/{path.name}" for path in (ROOT / "api/stemyard_api/web").iterdir()}
    assert packed == there
    assert there
