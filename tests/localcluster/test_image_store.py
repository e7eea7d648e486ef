"""Archives that are no image are refused before the node is asked anything."""

import tarfile
from pathlib import Path

import pytest

from localcluster import oci
from localcluster.errors import LocalClusterError
from localcluster.image_store import ImageStore
from localcluster.namespaces import Namespaces


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Namespaces(tmp_path / "node", Path("/bin/true")))


def test_a_file_that_is_no_archive(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("not a tar")
    with pytest.raises(LocalClusterError, match="not an OCI archive"):
        store.load_archive(tmp_path / "x.tar")


def test_an_archive_without_an_image(store: ImageStore, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("index.json"))
    with pytest.raises(LocalClusterError, match="not an OCI archive"):
        store.load_archive(tmp_path / "x.tar")


def test_an_image_without_a_name(store: ImageStore, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x")
    layout = tmp_path / "layout"
    oci.write_layout(oci.Recipe({"/program": program}, ("/program",)), layout)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(layout, ".")
    with pytest.raises(LocalClusterError, match="carries no image name"):
        store.load_archive(tmp_path / "x.tar")


def test_a_node_that_is_down_is_named(store: ImageStore) -> None:
    with pytest.raises(LocalClusterError, match="localcluster up"):
        store.digests()
