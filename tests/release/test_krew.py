"""The kubectl plugin as Krew installs it: its manifest, and the archive that a release packs."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from krew.package import MANIFEST, UNFILLED, KrewError, package, project_version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return package(tmp_path_factory.mktemp("dist"), project_version())


def check_schema(manifest: dict[str, Any]) -> None:
    """Check what Krew's validation requires (internal/index/validation in its repository)."""
    assert manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert manifest["kind"] == "Plugin"
    assert re.fullmatch(r"[\w-]+", manifest["metadata"]["name"])
    spec = manifest["spec"]
    assert set(spec) <= {"version", "homepage", "shortDescription", "description", "caveats", "platforms"}
    assert re.fullmatch(r"v\d+\.\d+\.\d+", spec["version"])
    assert 0 < len(spec["shortDescription"]) <= 50
    assert "\n" not in spec["shortDescription"]
    assert spec["homepage"].startswith("https://")
    for platform in spec["platforms"]:
        assert set(platform) == {"selector", "uri", "sha256", "files", "bin"}
        assert re.fullmatch(r"[0-9a-f]{64}", platform["sha256"])
        assert platform["uri"].startswith("https://")
        assert platform["uri"].endswith((".tar.gz", ".zip"))
        assert all(set(file) == {"from", "to"} for file in platform["files"])
        [expression] = platform["selector"]["matchExpressions"]
        assert set(expression["values"]) <= {"linux", "darwin", "windows"}


def test_the_manifest_is_krews_and_of_this_version() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text())
    check_schema(manifest)
    spec = manifest["spec"]
    [platform] = spec["platforms"]
    assert spec["version"] == f"v{project_version()}"
    assert f"/v{project_version()}/kubectl-stemyard-v{project_version()}.tar.gz" in platform["uri"]
    assert platform["sha256"] == UNFILLED, "a release fills it in"
    chart = yaml.safe_load((ROOT / "charts/stemyard/Chart.yaml").read_text())
    assert spec["homepage"] == chart["home"]


def test_a_release_has_the_digest_of_what_it_packs(packed: tuple[Path, Path]) -> None:
    archive, manifest = packed
    found = yaml.safe_load(manifest.read_text())
    check_schema(found)
    [platform] = found["spec"]["platforms"]
    assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert platform["uri"].endswith(f"/{archive.name}")


def test_the_archive_runs_through_a_link_as_krew_makes_it(packed: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(packed[0]) as archive:
        archive.extractall(tmp_path / "store", filter="data")
    files = {path.name for path in (tmp_path / "store").iterdir()}
    wheel = f"stemyard-{project_version()}-py3-none-any.whl"
    assert files == {"kubectl-stemyard", wheel, "constraints.txt", "LICENSE"}
    assert "kubernetes==" in (tmp_path / "store/constraints.txt").read_text()
    (tmp_path / "bin").mkdir()
    linked = tmp_path / "bin/kubectl-stemyard"
    linked.symlink_to("../store/kubectl-stemyard")
    uv = os.environ.get("UV") or shutil.which("uv") or ""
    environment = {**os.environ, "PATH": f"{Path(uv).parent}:/usr/bin:/bin"}
    done = subprocess.run([linked, "--version"], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"stemyard {project_version()}\n"
    without = subprocess.run([linked], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60)
    assert without.returncode == 2
    assert "needs uv" in without.stderr


def test_another_version_than_the_wheels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KrewError, match=r"9\.9\.9"):
        package(tmp_path, "9.9.9")


def test_a_release_packs_it() -> None:
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]["chart"]["steps"]
    assert any('make --silent krew VERSION="$VERSION"' in step.get("run", "") for step in steps)
