"""OCI images as files: making one from a few programs, and packing one for a node without the blobs it has already."""

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
NAME = "io.containerd.image.name"
REFERENCE = "org.opencontainers.image.ref.name"
# Grows when images of the same recipe come to be written differently.
FORMAT = 2
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Recipe:
    """What a small image holds.

    Attributes:
        files: path in the image to the file on this machine; all are made executable.
        entrypoint: the program it runs.
        user: numeric `uid:gid` it runs as.
        folders: empty folders, owned by the user.
    """

    files: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    folders: tuple[str, ...] = ()
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin",)

    @property
    def key(self) -> str:
        """Changes when the image would: a hash of this recipe, its files' sizes and times, and how it is written."""
        files = [(path.stat().st_size, path.stat().st_mtime_ns) for _, path in sorted(self.files.items())]
        return hashlib.sha256(f"{FORMAT} {self!r} {files}".encode()).hexdigest()[:12]


def write_layout(recipe: Recipe, folder: Path) -> str:
    """Write an image as an OCI layout folder and return its manifest's digest; the same files give the same digest."""
    return _write(recipe, _blob(folder, _layer(recipe)), folder)


def layout_of(recipe: Recipe, name: str, archives: Path) -> Path:
    """The layout folder of a recipe below `archives`, written when it is not there."""
    folder = archives / f"{name}-{recipe.key}"
    if not (folder / "index.json").exists():
        write_layout(recipe, folder)
    return folder


def write_layout_of_tar(recipe: Recipe, tar: Path, folder: Path) -> str:
    """Write an image whose one layer is a ready tar file, which is moved into the layout."""
    with tar.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    layer = {"digest": f"sha256:{digest}", "size": tar.stat().st_size}
    place = _path(folder, f"sha256:{digest}")
    place.parent.mkdir(parents=True, exist_ok=True)
    tar.rename(place)
    return _write(recipe, layer, folder)


def manifest_of(folder: Path) -> dict[str, Any]:
    """The one manifest's descriptor in an OCI layout folder."""
    descriptor: dict[str, Any] = json.loads((folder / "index.json").read_text())["manifests"][0]
    return descriptor


def configuration_of(folder: Path) -> str:
    """The digest of the one image's configuration in an OCI layout folder, which is the image's id."""
    return str(json.loads(_read(folder, manifest_of(folder)["digest"]))["config"]["digest"])


def pack(folder: Path, name: str, present: Collection[str], archive: Path) -> str:
    """Pack a layout as an archive that `ctr images import` takes, leaving out blobs whose digests are `present`.

    Returns:
        The manifest's digest, `sha256:<hex>`.
    """
    descriptor = manifest_of(folder)
    manifest = json.loads(_read(folder, descriptor["digest"]))
    wanted = [descriptor["digest"], manifest["config"]["digest"]]
    wanted += [layer["digest"] for layer in manifest["layers"] if layer["digest"] not in present]
    named = {**descriptor, "annotations": {NAME: name, REFERENCE: name}}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
        for digest in dict.fromkeys(wanted):
            tar.add(_path(folder, digest), f"blobs/sha256/{digest.partition(':')[2]}", recursive=False)
    return str(descriptor["digest"])


def prune(folder: Path) -> None:
    """Delete the blobs of an OCI layout that its one image does not use."""
    descriptor = manifest_of(folder)
    manifest = json.loads(_read(folder, descriptor["digest"]))
    used = {descriptor["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    for blob in (folder / "blobs" / "sha256").iterdir():
        if f"sha256:{blob.name}" not in used:
            blob.unlink()


def _write(recipe: Recipe, layer: dict[str, Any], folder: Path) -> str:
    run_as = {"Entrypoint": list(recipe.entrypoint), "User": recipe.user, "Env": list(recipe.environment)}
    config = {
        "architecture": _MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {key: value for key, value in run_as.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        # Builders that add layers count the history's entries against the layers.
        "history": [{"created_by": "localcluster"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **_blob(folder, json.dumps(config).encode())},
        "layers": [{"mediaType": LAYER, **layer}],
    }
    described = {"mediaType": MANIFEST, **_blob(folder, json.dumps(manifest).encode())}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    # Written last: a layout without it counts as not there.
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    return str(described["digest"])


def _layer(recipe: Recipe) -> bytes:
    content = io.BytesIO()
    uid, gid = (int(part) for part in recipe.user.split(":"))
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in _parents([*recipe.files, *recipe.folders]):
            _add_folder(tar, name, 0, 0)
        for name in recipe.folders:
            _add_folder(tar, name.strip("/"), uid, gid)
        for name, source in sorted(recipe.files.items()):
            _add(tar, name.strip("/"), source.read_bytes(), 0o755)
    return content.getvalue()


def _parents(names: list[str]) -> list[str]:
    return sorted({str(parent) for name in names for parent in Path(name.strip("/")).parents} - {"."})


def _add_folder(tar: tarfile.TarFile, name: str, uid: int, gid: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, uid, gid
    tar.addfile(entry)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _blob(folder: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    path = _path(folder, f"sha256:{digest}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{digest}.{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(path)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _read(folder: Path, digest: str) -> bytes:
    return _path(folder, digest).read_bytes()


def _path(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest.partition(":")[2]
