"""Images of others that the demo needs and no registry gives here: the S3 server and Valkey, from their programs."""

import re
from pathlib import Path

from localcluster import tools
from localcluster.folders import Folders
from localcluster.oci import Recipe, layout_of
from localcluster.programs import run

S3 = f"localhost/stemyard/versitygw:{tools.VERSITYGW}"
VALKEY = f"localhost/stemyard/valkey:{tools.VALKEY}"
# The same programs where a registry can be reached.
PUBLIC_S3 = f"docker.io/versity/versitygw:{tools.VERSITYGW}"
PUBLIC_VALKEY = "docker.io/valkey/valkey:8.1"


def layouts(folders: Folders) -> dict[str, Path]:
    """The OCI layout of each support image by its name, made when absent."""
    return {S3: _s3(folders), VALKEY: _valkey(folders)}


def libraries(listing: str) -> list[Path]:
    """The shared libraries in what ldd(1) prints, with the dynamic loader."""
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def _s3(folders: Folders) -> Path:
    program = tools.path_of("versitygw", folders)
    recipe = Recipe({"/usr/local/bin/versitygw": program}, ("/usr/local/bin/versitygw",), folders=("/data", "/tmp"))
    return layout_of(recipe, "versitygw", folders.archives)


def _valkey(folders: Folders) -> Path:
    programs = {f"/usr/local/bin/{name}": tools.path_of(name, folders) for name in ("valkey-server", "valkey-cli")}
    needed = libraries(run(["ldd", *programs.values()], timeout=20))
    files = programs | {str(library): library.resolve() for library in needed}
    recipe = Recipe(files, ("/usr/local/bin/valkey-server",), folders=("/data", "/tmp"))
    return layout_of(recipe, "valkey", folders.archives)
