"""Debian packages, unpacked from a repository on this machine."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from localcluster import debian
from localcluster.errors import CommandFailedError, MissingPrerequisiteError
from localcluster.programs import find

needs_apt = pytest.mark.skipif(find("apt-get") is None, reason="apt-get is not installed")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the package `tiny`, which apt-get knows of once its lists are updated."""
    folder = tmp_path / "repository"
    package(folder, tmp_path / "tiny")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    options = {"Dir::Etc::SourceList": tmp_path / "sources.list", "Dir::Etc::SourceParts": "/dev/null"}
    (tmp_path / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return folder


def package(folder: Path, built: Path) -> None:
    control = (
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: tiny\n"
    )
    (built / "DEBIAN").mkdir(parents=True)
    (built / "DEBIAN/control").write_text(control)
    (built / "usr/bin").mkdir(parents=True)
    (built / "usr/bin/tiny").write_text("#!/bin/sh\necho tiny\n")
    (built / "usr/bin/tiny").chmod(0o755)
    folder.mkdir()
    archive = folder / "tiny_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", built, archive], check=True, capture_output=True)
    content = archive.read_bytes()
    listed = f"Filename: ./{archive.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    (folder / "Packages").write_text(control + listed)


@needs_apt
def test_a_package_is_unpacked_once_and_not_installed(repository: Path, tmp_path: Path) -> None:
    """The machine's lists do not have it, so that lists of its own are read."""
    root = tmp_path / "tools"
    folder = debian.unpacked("tiny", root)
    assert subprocess.check_output([folder / "usr/bin/tiny"], text=True) == "tiny\n"
    (repository / "Packages").unlink()
    assert debian.unpacked("tiny", root) == folder
    assert sorted(path.name for path in root.iterdir()) == ["debian-tiny", "lock"]
    assert subprocess.run(["dpkg", "--status", "tiny"], capture_output=True, check=False).returncode != 0


@needs_apt
def test_a_package_that_there_is_not_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="large"):
        debian.unpacked("large", tmp_path / "tools")
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["lock"]
    assert repository.exists()


def test_without_apt_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "find", lambda _: None)
    with pytest.raises(MissingPrerequisiteError, match=r"^Install prometheus\.$"):
        debian.unpacked("prometheus", tmp_path)
