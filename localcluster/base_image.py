"""The base of every image built here: Debian with Python and CA certificates, bootstrapped from Debian's packages."""

import re
import shutil
from pathlib import Path

from localcluster import packages
from localcluster.builder import Builder
from localcluster.folders import Folders
from localcluster.locks import exclusive
from localcluster.oci import Recipe, write_layout_of_tar
from localcluster.programs import run
from localcluster.progress import step

SUITE = "bookworm"
TAG = f"localhost/stemyard/base:{SUITE}"
INCLUDED = ("ca-certificates", "python3", "python3-venv")
RECIPE = Recipe(
    files={},
    entrypoint=(),
    user="",
    folders=INCLUDED,
    environment=("PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
)
LIMIT = 1800.0
SOURCES = Path("/etc/apt")


def ensure(folders: Folders) -> str:
    """Return the base image's name; build it if the builder has none (two minutes, mostly downloads)."""
    packages.ensure(folders)
    builder = Builder(folders)
    layout = folders.archives / f"base-{SUITE}-{RECIPE.key}"
    with exclusive(folders.cache / "base-image.lock", "waiting for another command that builds the base image"):
        if not (layout / "index.json").exists():
            with step("building the base image"):
                _build(folders, layout)
        if not builder.has(f"localhost/{layout.name}"):
            builder.pull(layout, TAG)
    return TAG


def mirror_of(sources: str) -> str:
    """Return the Debian mirror in deb822 sources (sources.list(5)), or an empty string for debootstrap's default."""
    found = re.search(r"^URIs: *(\S+/debian)/?\s*$", sources, re.MULTILINE)
    return found[1] if found else ""


def _build(folders: Folders, layout: Path) -> None:
    root, tar = folders.cache / "build" / "base", folders.cache / "build" / "base.tar"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    packed = f"tar --numeric-owner --sort=name --one-file-system -C {root} -cf {tar} ."
    mirror = mirror_of("\n".join(path.read_text() for path in SOURCES.glob("sources.list*/*.sources")))
    bootstrap = f"debootstrap --variant=minbase --include={','.join(INCLUDED)} {SUITE} {root} {mirror}"
    # In a private mount namespace, so that debootstrap leaves no mounts behind.
    script = f"{bootstrap} && rm -rf {root}/var/cache/apt/archives/*.deb {root}/var/lib/apt/lists/* && {packed}"
    run(
        ["unshare", "--mount", "--", "sh", "-euc", script],
        timeout=LIMIT, log=folders.logs / "base-image.log", tied=True,
    )  # fmt: skip
    partial = layout.with_name(layout.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_layout_of_tar(RECIPE, tar, partial)
    shutil.rmtree(layout, ignore_errors=True)
    partial.rename(layout)
    shutil.rmtree(root, ignore_errors=True)
