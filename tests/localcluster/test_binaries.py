"""When compiled programs are used again."""

from pathlib import Path

import pytest

from localcluster import binaries
from localcluster.errors import LocalClusterError
from localcluster.folders import Folders
from localcluster.toolchain import NEEDED, version_of


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "cmd/node").mkdir(parents=True)
    (tmp_path / "go.mod").write_text("module m\n")
    (tmp_path / "go.sum").write_text("")
    (tmp_path / "cmd/node/main.go").write_text("package main\n")
    return tmp_path


def test_the_key_stays_while_nothing_changes(sources: Path) -> None:
    before = binaries.cache_key(sources)
    (sources / "README").write_text("not compiled")
    assert binaries.cache_key(sources) == before


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "cmd/node/main.go", "cmd/other/main.go"])
def test_the_key_changes_with_every_source(sources: Path, name: str) -> None:
    before = binaries.cache_key(sources)
    path = sources / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.read_text() + "// more\n" if path.exists() else "package main\n")
    assert binaries.cache_key(sources) != before


def test_each_version_has_its_key() -> None:
    keys = [binaries.cache_key(binaries.SOURCES, version) for version in binaries.VERSIONS.values()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("minor", "version"), binaries.VERSIONS.items())
def test_the_committed_modules_are_of_the_version_that_is_reported(minor: str, version: str) -> None:
    name = "go.mod" if version == binaries.KUBERNETES else f"versions/{minor}.mod"
    assert version.startswith(f"v{minor}.")
    assert f"k8s.io/kubernetes {version}\n" in (binaries.SOURCES / name).read_text()
    assert f"gitVersion={version} " in binaries.linker_flags(version)


def test_versions_that_cannot_be_named_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.KUBERNETES_VARIABLE, "1.30")
    with pytest.raises(LocalClusterError, match=r"set it to one of 1\.34, 1\.35, 1\.36, 1\.37"):
        binaries.control_plane_binary(Folders(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("output", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.4 x", (1, 4)), ("", (0, 0)), ("bash: go", (0, 0))],
)
def test_go_versions_are_read(output: str, version: tuple[int, int]) -> None:
    assert version_of(output) == version


def test_the_modules_ask_for_the_go_version_that_is_checked() -> None:
    assert f"\ngo {NEEDED[0]}.{NEEDED[1]}." in (binaries.SOURCES / "go.mod").read_text()
