"""The registry configuration of the host, mounted into build steps while they run and never copied into the image."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP = "/etc/pip.conf"
UV = "/etc/uv/uv.toml"
# uv's index variables and the equivalent options of its configuration file.
_UV_OPTIONS = {
    "UV_DEFAULT_INDEX": "index-url",
    "UV_INDEX_URL": "index-url",
    "UV_EXTRA_INDEX_URL": "extra-index-url",
    "UV_FIND_LINKS": "find-links",
    "UV_INDEX_STRATEGY": "index-strategy",
}
_LISTS = {"extra-index-url", "find-links"}
# Options about the host or the terminal, not about registries.
_PIP_HOST_OPTIONS = {"cert", "target", "user", "prefix", "require-virtualenv", "cache-dir", "python", "log", "root"}


def certificates(environment: Mapping[str, str]) -> Path:
    """Return the host's CA bundle."""
    return Path(environment.get("SSL_CERT_FILE") or CERTIFICATES)


def pip_configuration(environment: Mapping[str, str]) -> str:
    """Return pip.conf with the PIP_ variables of an environment and the CA bundle's path in images."""
    options = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }
    lines = [f"{name} = {value}" for name, value in sorted(options.items()) if name not in _PIP_HOST_OPTIONS]
    return "\n".join(["[global]", f"cert = {CERTIFICATES}", *lines, ""])


def uv_configuration(environment: Mapping[str, str]) -> str:
    """Return uv.toml with the UV_ index variables of an environment; it trusts the system's certificates."""
    lines = ["system-certs = true"]
    for variable, option in _UV_OPTIONS.items():
        value = environment.get(variable)
        if value and not any(line.startswith(f"{option} ") for line in lines):
            lines.append(f"{option} = {json.dumps(value.split() if option in _LISTS else value)}")
    return "\n".join([*lines, ""])


def volumes(folder: Path) -> list[tuple[Path, str]]:
    """Return files of the host and their read-only mount points in a build step; generated ones are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pip, uv = folder / "pip.conf", folder / "uv.toml"
    own_pip, own_uv = Path(PIP), Path(UV)
    pip.write_text(own_pip.read_text() if own_pip.exists() else pip_configuration(os.environ))
    uv.write_text(own_uv.read_text() if own_uv.exists() else uv_configuration(os.environ))
    bound = [(pip, PIP), (uv, UV)]
    bundle = certificates(os.environ)
    if bundle.exists():
        bound.append((bundle.resolve(), str(CERTIFICATES)))
    return bound
