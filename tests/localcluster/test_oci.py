"""Images as files."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from localcluster import oci


@pytest.fixture
def recipe(tmp_path: Path) -> oci.Recipe:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    return oci.Recipe({"/usr/bin/program": program}, ("/usr/bin/program",), folders=("/data",))


def test_every_blob_is_what_its_name_says(recipe: oci.Recipe, tmp_path: Path) -> None:
    oci.write_layout(recipe, tmp_path / "layout")
    blobs = list((tmp_path / "layout/blobs/sha256").iterdir())
    assert len(blobs) == 3
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_the_same_files_give_the_same_image(recipe: oci.Recipe, tmp_path: Path) -> None:
    assert oci.write_layout(recipe, tmp_path / "a") == oci.write_layout(recipe, tmp_path / "b")


def test_a_layer_holds_programs_and_folders_with_their_owner(recipe: oci.Recipe, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    oci.write_layout(recipe, layout)
    manifest = json.loads((layout / "blobs/sha256" / oci.manifest_of(layout)["digest"].split(":")[1]).read_text())
    with tarfile.open(layout / "blobs/sha256" / manifest["layers"][0]["digest"].split(":")[1]) as layer:
        entries = {entry.name: (entry.isdir(), entry.mode, entry.uid) for entry in layer}
    assert entries["usr/bin/program"] == (False, 0o755, 0)
    assert entries["data"] == (True, 0o755, 65532)
    assert entries["usr"] == (True, 0o755, 0)


def test_an_archive_leaves_out_what_the_node_has(recipe: oci.Recipe, tmp_path: Path) -> None:
    layout, archive = tmp_path / "layout", tmp_path / "image.tar"
    digest = oci.write_layout(recipe, layout)
    manifest = json.loads((layout / "blobs/sha256" / digest.split(":")[1]).read_text())
    layer = manifest["layers"][0]["digest"]
    assert oci.pack(layout, "localhost/x:1", {layer}, archive) == digest
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    assert f"blobs/sha256/{layer.split(':')[1]}" not in names
    assert f"blobs/sha256/{manifest['config']['digest'].split(':')[1]}" in names
    assert index["manifests"][0]["annotations"][oci.NAME] == "localhost/x:1"


def test_a_layout_is_written_again_when_its_program_changes(recipe: oci.Recipe, tmp_path: Path) -> None:
    first = oci.layout_of(recipe, "x", tmp_path)
    assert oci.layout_of(recipe, "x", tmp_path) == first
    recipe.files["/usr/bin/program"].write_bytes(b"\x7fELF and more")
    assert oci.layout_of(recipe, "x", tmp_path) != first


def test_blobs_of_older_images_are_pruned(recipe: oci.Recipe, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    oci.write_layout(recipe, layout)
    recipe.files["/usr/bin/program"].write_bytes(b"changed")
    oci.write_layout(recipe, layout)
    oci.prune(layout)
    assert len(list((layout / "blobs/sha256").iterdir())) == 3
    assert oci.configuration_of(layout).startswith("sha256:")


def test_a_ready_tar_becomes_the_only_layer(tmp_path: Path) -> None:
    tar = tmp_path / "root.tar"
    with tarfile.open(tar, "w") as root:
        root.addfile(tarfile.TarInfo("etc"))
    expected = hashlib.sha256(tar.read_bytes()).hexdigest()
    digest = oci.write_layout_of_tar(oci.Recipe({}, (), ""), tar, tmp_path / "layout")
    blobs = tmp_path / "layout/blobs/sha256"
    manifest = json.loads((blobs / digest.split(":")[1]).read_text())
    config = json.loads((blobs / manifest["config"]["digest"].split(":")[1]).read_text())
    assert config["rootfs"]["diff_ids"] == [f"sha256:{expected}"]
    assert len(config["history"]) == 1, "builders count history entries against layers"
