"""OCI images as files: creating one from a few programs, and packing one without the blobs that a node already has."""

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
# Incremented when the same recipe yields a different image.
FORMAT = 2
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Recipe:
    """The contents of a small image.

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
        """Hash of this recipe, its files' sizes and modification times, and FORMAT; it changes when the image does."""
        files = [(path.stat().st_size, path.stat().st_mtime_ns) for _, path in sorted(self.files.items())]
        return hashlib.sha256(f"{FORMAT} {self!r} {files}".encode()).hexdigest()[:12]


def write_layout(recipe: Recipe, folder: Path) -> str:
    """Write an image as an OCI layout and return its manifest's digest; equal files give equal digests."""
    return _write(recipe, _blob(folder, _layer(recipe)), folder)


def layout_of(recipe: Recipe, name: str, archives: Path) -> Path:
    """Return the layout folder of a recipe below `archives`; write it if it is missing."""
    folder = archives / f"{name}-{recipe.key}"
    if not (folder / "index.json").exists():
        write_layout(recipe, folder)
    return folder


def write_layout_of_tar(recipe: Recipe, tar: Path, folder: Path) -> str:
    """Write an image whose single layer is an existing tar file, which is moved into the layout."""
    with tar.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    layer = {"digest": f"sha256:{digest}", "size": tar.stat().st_size}
    place = _path(folder, f"sha256:{digest}")
    place.parent.mkdir(parents=True, exist_ok=True)
    tar.rename(place)
    return _write(recipe, layer, folder)


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the descriptor of the single manifest in an OCI layout."""
    descriptor: dict[str, Any] = json.loads((folder / "index.json").read_text())["manifests"][0]
    return descriptor


def configuration_of(folder: Path) -> str:
    """Return the digest of the configuration of the single image in an OCI layout, which is the image's id."""
    return str(json.loads(_read(folder, manifest_of(folder)["digest"]))["config"]["digest"])


def pack(folder: Path, name: str, present: Collection[str], archive: Path) -> str:
    """Pack a layout as an archive for `ctr images import`, without the layers whose digests are in `present`.

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
    """Delete the blobs of an OCI layout that its image does not use."""
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
        # Builders that add layers compare the number of history entries with the number of layers.
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
    # Written last: a layout without it is incomplete.
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
