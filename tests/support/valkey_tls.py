"""A real Valkey that speaks TLS: Debian's, unpacked, since the wheel of the other tests is built without TLS."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localcluster import base_image
from localcluster.certificates import Authority, KeyPair
from localcluster.control_plane import free_port
from localcluster.folders import here
from localcluster.locks import exclusive
from localcluster.programs import run
from tests.support.servers import Server

SUITE: Final = "trixie"
"""Debian's first release with a Valkey; a machine without a Debian mirror takes its own distribution's."""
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LIMIT: Final = 300.0
_LAUNCHER: Final = """#!/bin/sh
here=$(dirname "$0")
exec "$here/{loader}" --library-path "$here/{libraries}" "$here/usr/bin/valkey-server" "$@"
"""


@dataclass(frozen=True)
class TlsValkey:
    """A running server, and the authority that has signed its certificate."""

    server: Server
    authority: Authority

    @property
    def url(self) -> str:
        """Its URL, by the one name of its certificate."""
        return f"rediss://localhost:{self.server.port}/0"


@contextlib.contextmanager
def tls_valkey(folder: Path) -> Iterator[TlsValkey]:
    """Run it on a free port that accepts nothing but TLS."""
    authority, port = Authority(folder / "authority"), free_port()
    authority.create()
    pair = authority.for_server("valkey", [], ["localhost"])
    options = ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", "no"]
    with Server(
        "valkey-tls", [str(program()), *options, *_files(pair), "--save", ""], port, folder
    ).running() as server:
        yield TlsValkey(server, authority)


def _files(pair: KeyPair) -> list[str]:
    return ["--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key)]


def program() -> Path:
    """Return `valkey-server` of a package, started with the loader and libraries of its own release."""
    root = here().cache / "tools"
    folder = root / f"valkey-tls-{SUITE}"
    with exclusive(root / "valkey-tls.lock", "waiting for another test that unpacks Valkey"):
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _unpack(partial)
            _add_launcher(partial)
            partial.rename(folder)
    return folder / "valkey-server"


def _add_launcher(folder: Path) -> None:
    [loader, *_] = sorted(folder.glob("**/ld-linux*.so.*"))
    [libraries, *_] = sorted(folder.glob("usr/lib/*-linux-gnu"))
    launcher = folder / "valkey-server"
    launcher.write_text(_LAUNCHER.format(loader=loader.relative_to(folder), libraries=libraries.relative_to(folder)))
    launcher.chmod(0o755)


def _unpack(folder: Path) -> None:
    """Download the package and the libraries that it needs, with package lists of its own, and unpack them."""
    work = folder.with_name(f"{folder.name}.apt")
    shutil.rmtree(work, ignore_errors=True)
    for made in ("lists/partial", "archives/partial"):
        (work / made).mkdir(parents=True)
    try:
        options = ["-o", f"Dir::State={work}", "-o", f"Dir::Cache={work}", "-o", "APT::Sandbox::User=", *_source(work)]
        get = ["apt-get", "-qq", "-o", "Acquire::Retries=3", *options]
        run([*get, "update"], timeout=_LIMIT)
        only = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
        listing = run(["apt-cache", *options, "depends", "--recurse", *only, "valkey-tools"], timeout=_LIMIT)
        libraries = set(re.findall(r"(?m)^((?:lib|zlib)\S+)$", listing))
        run([*get, "download", "valkey-server", "valkey-tools", *sorted(libraries)], timeout=_LIMIT, cwd=work)
        for archive in work.glob("*.deb"):
            run(["dpkg-deb", "--extract", archive, folder], timeout=_LIMIT)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _source(work: Path) -> list[str]:
    """Options that make apt-get read Debian's own release, if the machine knows a Debian mirror."""
    texts = [path.read_text() for path in base_image.SOURCES.glob("sources.list*/*.sources")]
    mirror = base_image.mirror_of("\n".join(texts))
    if not mirror:
        return []
    sources = work / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {mirror} {SUITE} main\n")
    return ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null"]
