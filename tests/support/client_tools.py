"""Client generators and compilers. What is downloaded is pinned, and kept in Stemyard's cache, outside the tree."""

import fcntl
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from localcluster.folders import here

CACHE = here().cache / "generators"
_MAVEN = "https://repo1.maven.org/maven2"
_OPENAPI_GENERATOR = "org/openapitools/openapi-generator-cli/7.25.0"
_OPENAPI_PYTHON_CLIENT = "openapi-python-client==0.29.1"
_OAPI_CODEGEN = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"
_NODE_PACKAGES = (
    "openapi-typescript@7.13.0",
    "openapi-fetch@0.17.0",
    "typescript@5.9.3",
    "@types/node@20.19.43",
    "@grafana/schema@13.2.3",
)
_JACKSON = "com/fasterxml/jackson"
_JAVA_LIBRARIES = (
    f"{_JACKSON}/core/jackson-core/2.21.5",
    f"{_JACKSON}/core/jackson-annotations/2.21",
    f"{_JACKSON}/core/jackson-databind/2.21.5",
    f"{_JACKSON}/datatype/jackson-datatype-jsr310/2.21.5",
    "org/openapitools/jackson-databind-nullable/0.2.11",
    "com/google/code/findbugs/jsr305/3.0.2",
    "jakarta/annotation/jakarta.annotation-api/1.3.5",
)
_SECONDS = 500


def need(*programs: str) -> None:
    """Skip the test if a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def call(
    command: Sequence[str | Path], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program and return its output; its errors are those of the test."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, f"{command[0]}: {ended.stdout[-6000:]}\n{ended.stderr[-6000:]}"
    return ended.stdout


def openapi_generator(document: Path, generator: str, target: Path, *options: str) -> None:
    """Generate a client with openapi-generator."""
    need("java")
    jar = _jar(_OPENAPI_GENERATOR)
    # most of its time is the start of the JVM
    command: list[str | Path] = [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-jar",
        jar,
        "generate",
        "-i",
        document,
        "-g",
        generator,
    ]
    call([*command, "-o", target, *options])


def openapi_python_client(document: Path, target: Path) -> None:
    """Generate a client with openapi-python-client."""
    call([_python_client_program(), "generate", "--path", document, "--output-path", target, "--meta", "none"])


def oapi_codegen(document: Path, target: Path) -> None:
    """Generate a client with oapi-codegen."""
    need("go")
    program = CACHE / "go" / "oapi-codegen"
    with _locked():
        if not program.exists():
            _download(["go", "install", _OAPI_CODEGEN], {"GOBIN": str(program.parent)})
    call([program, "-generate", "types,client,skip-prune", "-package", "stemyard", "-o", target, document])


def node_modules() -> Path:
    """Return a folder with openapi-typescript, openapi-fetch, TypeScript and Grafana's types."""
    need("node", "npm")
    folder = CACHE / "node"
    stamp = folder / "installed"
    with _locked():
        if not stamp.exists() or stamp.read_text() != repr(_NODE_PACKAGES):
            folder.mkdir(parents=True, exist_ok=True)
            _download(["npm", "install", "--prefix", str(folder), "--no-save", *_NODE_PACKAGES])
            stamp.write_text(repr(_NODE_PACKAGES))
    return folder / "node_modules"


def npm_ci(folder: Path, files: Sequence[Path]) -> None:
    """Install what a package and its lock name into a folder, unless it is there already."""
    stamp = folder / "installed"
    with _locked():
        if not stamp.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(file, folder)
            _download(["npm", "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"])
            stamp.touch()


def java_libraries() -> str:
    """Return the class path of what generated Java needs."""
    return ":".join(str(_jar(library)) for library in _JAVA_LIBRARIES)


def _jar(library: str) -> Path:
    name = "-".join(library.split("/")[-2:]) + ".jar"
    path = CACHE / "jars" / name
    with _locked():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            try:
                with urllib.request.urlopen(f"{_MAVEN}/{library}/{name}", timeout=60) as answer:
                    partial.write_bytes(answer.read())
            except urllib.error.URLError as error:
                pytest.skip(f"Maven Central cannot be reached for {name}: {error.reason}")
            partial.rename(path)
    return path


def _python_client_program() -> Path:
    folder = CACHE / "openapi-python-client"
    program = folder / "bin" / "openapi-python-client"
    with _locked():
        if not program.exists():
            _download([sys.executable, "-m", "venv", str(folder)])
            _download([str(folder / "bin" / "pip"), "install", "--quiet", _OPENAPI_PYTHON_CLIENT])
    return program


def _download(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    ended = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if ended.returncode:
        pytest.skip(f"{' '.join(command)} failed: {ended.stderr[-500:]}")


class _locked:  # noqa: N801 - used as a function
    """Lets one process at a time fill the cache."""

    def __enter__(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self._file = (CACHE / "lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
