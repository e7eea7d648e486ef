"""Programs that use clients generated from an OpenAPI document, in five languages: generated, compiled and run.

Each requests the vocals of a song as FLAC, and prints the id of the track.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import client_tools

_PROGRAMS = Path(__file__).parents[1] / "generators" / "clients"


@dataclass(frozen=True)
class Target:
    """What the programs use: the document of a running API, its URL and key, and the tracks of two requests.

    `completed` is the track of the query `a completed song`, `failed` one that failed with SOURCE_NOT_FOUND.
    """

    document: Path
    url: str
    key: str
    completed: str
    failed: str

    @property
    def arguments(self) -> list[str]:
        """The arguments of each program."""
        return [self.url, self.key, self.completed, self.failed]


def python_of_openapi_generator(target: Target, folder: Path) -> str:
    options = "--additional-properties=packageName=generated_client"
    client_tools.openapi_generator(target.document, "python", folder, options)
    return _python(target, folder, "generated_by_openapi_generator.py")


def openapi_python_client(target: Target, folder: Path) -> str:
    client_tools.openapi_python_client(target.document, folder / "generated_client")
    return _python(target, folder, "generated_by_openapi_python_client.py")


def _python(target: Target, folder: Path, program: str) -> str:
    everything = (
        "import importlib, pkgutil, generated_client as c\n"
        "for m in pkgutil.walk_packages(c.__path__, 'generated_client.'): importlib.import_module(m.name)"
    )
    environment = {"PYTHONPATH": str(folder)}
    client_tools.call([sys.executable, "-c", everything], folder, environment)
    return client_tools.call([sys.executable, _PROGRAMS / program, *target.arguments], folder, environment)


def openapi_typescript(target: Target, folder: Path) -> str:
    modules = client_tools.node_modules()
    generated = folder / "generated" / "schema.d.ts"
    client_tools.call(["node", modules / "openapi-typescript/bin/cli.js", target.document, "-o", generated])
    return _typescript(target, folder, "openapi-typescript.ts", modules)


def typescript_of_openapi_generator(target: Target, folder: Path) -> str:
    modules = client_tools.node_modules()
    options = "--additional-properties=importFileExtension=.js"
    client_tools.openapi_generator(target.document, "typescript-fetch", folder / "generated", options)
    return _typescript(target, folder, "typescript-fetch.ts", modules)


def _typescript(target: Target, folder: Path, program: str, modules: Path) -> str:
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(modules)
    shutil.copy(_PROGRAMS / program, folder)
    options = {"strict": True, "target": "es2022", "module": "nodenext", "types": ["node"], "outDir": "compiled"}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": [program]}))
    client_tools.call(["node", modules / "typescript/bin/tsc", "--project", folder], folder)
    return client_tools.call(["node", f"compiled/{program.replace('.ts', '.js')}", *target.arguments], folder)


def oapi_codegen(target: Target, folder: Path) -> str:
    (folder / "stemyard").mkdir()
    client_tools.oapi_codegen(target.document, folder / "stemyard" / "client.go")
    shutil.copy(_PROGRAMS / "main.go", folder)
    (folder / "go.mod").write_text("module stemyard.example/client\n\ngo 1.24\n")
    client_tools.call(["go", "get", "github.com/oapi-codegen/runtime@v1.9.0"], folder)
    client_tools.call(["go", "vet", "./..."], folder)
    return client_tools.call(["go", "run", ".", *target.arguments], folder)


def java_of_openapi_generator(target: Target, folder: Path) -> str:
    client_tools.need("java", "javac")
    options = ("--library", "native", "--additional-properties=useSingleRequestParameter=true")
    client_tools.openapi_generator(target.document, "java", folder / "generated", *options)
    libraries, classes = client_tools.java_libraries(), str(folder / "classes")
    sources = sorted((folder / "generated/src/main/java").rglob("*.java"))
    client_tools.call(["javac", "-nowarn", "-d", classes, "-cp", libraries, *sources, _PROGRAMS / "Main.java"])
    return client_tools.call(["java", "-cp", f"{classes}:{libraries}", "Main", *target.arguments])


def rust_of_openapi_generator(target: Target, folder: Path) -> str:
    """Skip it without STEMYARD_GENERATORS: it compiles 150 crates."""
    if "STEMYARD_GENERATORS" not in os.environ:
        pytest.skip("compiles 150 crates: `make test-generators` includes it")
    client_tools.need("cargo")
    options = "--additional-properties=packageName=generated_client,useSingleRequestParameter=true"
    client_tools.openapi_generator(target.document, "rust", folder / "generated", options)
    (folder / "src").mkdir()
    shutil.copy(_PROGRAMS / "main.rs", folder / "src")
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "client"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
        'generated_client = {path = "generated", default-features = false, features = ["rustls"]}\n'
        'tokio = {version = "1", features = ["macros", "rt"]}\n'
    )
    environment = {"CARGO_TARGET_DIR": str(client_tools.CACHE / "cargo-target")}
    return client_tools.call(["cargo", "run", "--quiet", "--", *target.arguments], folder, environment)
