"""The TypeScript client: built, tested and packed by npm outside the tree, and installed in programs that use it."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.support import client_tools

SOURCE = Path(__file__).parents[2] / "client/typescript"
PROGRAMS = Path(__file__).parents[1] / "generators/clients"
_NODE = 20
_BUILT = ("node_modules", "dist", "build", "*.tgz")


def copied(folder: Path) -> Path:
    """Copy the package to a folder, with the tools that its lock names."""
    package = folder / "package"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns(*_BUILT))
    (package / "node_modules").symlink_to(_tools())
    return package


def packed(folder: Path) -> Path:
    """Build and pack the package; return the archive that npm would publish."""
    package = copied(folder)
    client_tools.call(["npm", "pack", "--offline"], package)
    [archive] = package.glob("*.tgz")
    return archive


def project(archive: Path, folder: Path) -> Path:
    """Make a project that has the packed package installed, as `npm install` does for one without dependencies."""
    installed = folder / "node_modules" / "stemyard-client"
    installed.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    shutil.copytree(folder / "unpacked" / "package", installed, dirs_exist_ok=True)
    types = _tools() / "@types"
    (folder / "node_modules" / "@types").symlink_to(types)
    (folder / "node_modules" / "undici-types").symlink_to(types.parent / "undici-types")
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def compiled(folder: Path, name: str, program: str) -> Path:
    """Compile a program in a project, strictly; return the JavaScript."""
    (folder / f"{name}.ts").write_text(program)
    options = {"strict": True, "exactOptionalPropertyTypes": True, "target": "es2022", "module": "nodenext"}
    more = {"types": ["node"], "lib": ["es2022", "dom", "dom.iterable"], "outDir": "compiled"}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options | more, "files": [f"{name}.ts"]}))
    client_tools.call(["node", _tools() / "typescript/bin/tsc", "--project", folder], folder)
    return folder / "compiled" / f"{name}.js"


def _tools() -> Path:
    """Return the folder of the packages that the lock names, installed once in Stemyard's cache."""
    client_tools.need("node", "npm")
    if int(client_tools.call(["node", "--version"]).removeprefix("v").partition(".")[0]) < _NODE:
        pytest.skip(f"Node {_NODE} is not installed")
    lock = (SOURCE / "package-lock.json").read_bytes()
    folder = client_tools.CACHE / f"typescript-client-{hashlib.sha256(lock).hexdigest()[:16]}"
    client_tools.npm_ci(folder, [SOURCE / "package.json", SOURCE / "package-lock.json"])
    return folder / "node_modules"
