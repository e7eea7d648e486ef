"""Third-party images that the demo needs: the S3 server and Valkey, packed from their programs without a registry."""

import re
from pathlib import Path

from localcluster import tools
from localcluster.folders import Folders
from localcluster.oci import Recipe, layout_of
from localcluster.programs import run

S3 = f"localhost/stemyard/versitygw:{tools.VERSITYGW}"
VALKEY = f"localhost/stemyard/valkey:{tools.VALKEY}"
# The same programs from public registries.
PUBLIC_S3 = f"docker.io/versity/versitygw:{tools.VERSITYGW}"
PUBLIC_VALKEY = "docker.io/valkey/valkey:8.1"


def layouts(folders: Folders) -> dict[str, Path]:
    """Return the OCI layout of each image by name; write missing ones."""
    return {S3: _s3(folders), VALKEY: _valkey(folders)}


def libraries(listing: str) -> list[Path]:
    """Return the shared libraries and the dynamic loader in the output of ldd(1)."""
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def _s3(folders: Folders) -> Path:
    program = tools.path_of("versitygw", folders)
    recipe = Recipe({"/usr/local/bin/versitygw": program}, ("/usr/local/bin/versitygw",), folders=("/data", "/tmp"))
    return layout_of(recipe, "versitygw", folders.archives)


def _valkey(folders: Folders) -> Path:
    programs = {f"/usr/local/bin/{name}": tools.path_of(name, folders) for name in ("valkey-server", "valkey-cli")}
    shared = libraries(run(["ldd", *programs.values()], timeout=20))
    files = programs | {str(library): library.resolve() for library in shared}
    recipe = Recipe(files, ("/usr/local/bin/valkey-server",), folders=("/data", "/tmp"))
    return layout_of(recipe, "valkey", folders.archives)
