"""Programs compiled from Go modules, cached by a hash of their sources."""

import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from localcluster import toolchain
from localcluster.errors import CommandFailedError, LocalClusterError, MissingPrerequisiteError
from localcluster.folders import Folders
from localcluster.locks import exclusive
from localcluster.programs import die_with_parent, run, search_path
from localcluster.progress import Ticker, say

SOURCES = Path(__file__).parent / "go"
KUBERNETES = "v1.36.3"
KUBERNETES_VARIABLE = "STEMYARD_KUBERNETES"
"""Names the minor version of the control planes that tests start, if it is another: `1.34`."""
VERSIONS = {"1.34": "v1.34.4", "1.35": "v1.35.4", "1.36": KUBERNETES, "1.37": "v1.37.2"}
"""Versions that can be named; each but the default has its Go modules in `go/versions`."""
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
KIND = "sigs.k8s.io/kind@v0.33.0"
_VERSION = "k8s.io/component-base/version"
COMPILE_LIMIT = 3600.0


def linker_flags(version: str) -> str:
    """Return the linker flags that make the servers report a version: `v1.36.3`."""
    major, minor, _ = version.removeprefix("v").split(".")
    return f"-s -w -X {_VERSION}.gitVersion={version} -X {_VERSION}.gitMajor={major} -X {_VERSION}.gitMinor={minor}"


def cache_key(sources: Path, version: str = KUBERNETES) -> str:
    """Return a hash of the inputs of the compilation: module files, Go sources, linker flags, machine type."""
    digest = hashlib.sha256(f"{linker_flags(version)}\0{os.uname().machine}\0".encode())
    modules = _module_file(sources, version)
    for path in sorted([modules, modules.with_suffix(".sum"), *sources.rglob("*.go")]):
        digest.update(f"{path.relative_to(sources)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cluster_binaries(folders: Folders) -> Path:
    """Return the folder with `node`, `coredns` and `pause`; compile them if it is missing (takes minutes)."""
    return _servers(folders, KUBERNETES, "./cmd/...")


def control_plane_binary(folders: Folders) -> Path:
    """Return `node` of the version that `STEMYARD_KUBERNETES` names; compile it if it is missing (takes minutes).

    Raises:
        LocalClusterError: there is no such version.
    """
    minor = os.environ.get(KUBERNETES_VARIABLE) or _minor(KUBERNETES)
    if minor not in VERSIONS:
        raise LocalClusterError(f"{KUBERNETES_VARIABLE} is {minor!r}; set it to one of {', '.join(VERSIONS)}")
    if VERSIONS[minor] == KUBERNETES:
        return cluster_binaries(folders) / "node"
    return _servers(folders, VERSIONS[minor], "./cmd/node") / "node"


def _servers(folders: Folders, version: str, programs: str) -> Path:
    if platform.system() != "Linux":
        raise MissingPrerequisiteError("Run this on Linux: the Kubernetes servers that it compiles run only there.")
    folder = folders.binaries / cache_key(SOURCES, version)
    if not folder.exists():
        with _compile_lock(folders), _new_folder(folder) as partial:
            if partial is not None:
                command = toolchain.go(folders)
                modules = ["-modfile", str(_module_file(SOURCES, version))]
                total = _packages(command, modules, programs)
                # With a directory as output, `go build` names each program after its package.
                build = ["build", "-v", "-trimpath", "-ldflags", linker_flags(version), "-o", f"{partial}/"]
                title = f"compiling Kubernetes {version}"
                _compile(title, command, [*build, *modules, programs], folders, SOURCES, {}, total)
    return folder


def _module_file(sources: Path, version: str) -> Path:
    """Return the file that names the Go modules of a version."""
    return sources / ("go.mod" if version == KUBERNETES else f"versions/{_minor(version)}.mod")


def _minor(version: str) -> str:
    return version.removeprefix("v").rpartition(".")[0]


def go_program(package: str, folders: Folders) -> Path:
    """Return a program of another module (`path@version`); install it with `go install` if it is missing."""
    folder = folder_of(package, folders)
    name = package.partition("@")[0].rpartition("/")[2]
    if not folder.exists():
        with _compile_lock(folders), _new_folder(folder) as partial:
            if partial is not None:
                arguments = ["install", "-v", "-trimpath", "-ldflags", "-s -w", package]
                command = toolchain.go(folders)
                _compile(f"compiling {name}", command, arguments, folders, Path("/"), {"GOBIN": str(partial)}, None)
    return folder / name


def folder_of(package: str, folders: Folders) -> Path:
    """Return the folder that `go_program` installs a `path@version` into."""
    path, _, version = package.partition("@")
    return folders.binaries / f"{path.rpartition('/')[2]}-{version}"


def _packages(command: Path, modules: Sequence[str], programs: str) -> int:
    arguments: list[str | Path] = [command, "list", *modules, "-deps", programs]
    return len(run(arguments, timeout=600, cwd=SOURCES, env=toolchain.environment(command)).split())


def _compile(
    title: str,
    command: Path,
    arguments: Sequence[str],
    folders: Folders,
    cwd: Path,
    env: dict[str, str],
    total: int | None,
) -> None:
    log = folders.logs / f"{title.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # Temporary files that a killed compiler left are removed here.
    scratch = folders.cache / "build" / "go"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    environment = {
        **os.environ,
        "PATH": search_path(),
        **toolchain.environment(command),
        "GOTMPDIR": str(scratch),
        **env,
    }
    started = time.monotonic()
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*die_with_parent(), "nice", "-n", "5", str(command), *arguments],
            cwd=cwd,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(process, title, log, total)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise CommandFailedError(f"{title} failed (log: {log})\n{tail}")
    say(f"{title}: done in {time.monotonic() - started:.0f} s")


def _watch(process: subprocess.Popen[bytes], title: str, log: Path, total: int | None) -> None:
    say(f"{title} ...")
    ticker, started = Ticker(title), time.monotonic()
    while process.poll() is None:
        elapsed = time.monotonic() - started
        if elapsed > COMPILE_LIMIT:
            raise CommandFailedError(f"{title} timed out after {COMPILE_LIMIT / 60:.0f} minutes (log: {log})")
        count = log.read_bytes().count(b"\n")
        ticker.tick(f"{count}{f' of {total}' if total else ''} packages, {elapsed:.0f} s")
        time.sleep(0.3)


def _compile_lock(folders: Folders) -> AbstractContextManager[None]:
    return exclusive(folders.binaries / "lock", "waiting for another command that compiles")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path | None]:
    """Yield a temporary folder that is renamed on success, or None if another process made the folder meanwhile."""
    if folder.exists():
        yield None
        return
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)
