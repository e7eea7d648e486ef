"""Kubeconfig files, written as JSON (a subset of YAML) and readable by their owner only."""

import base64
import json
from pathlib import Path

from localcluster.certificates import KeyPair


def render(server: str, authority: bytes, user: str, credentials: dict[str, str]) -> str:
    """Return a kubeconfig with one cluster and one context, both named stemyard, and one user."""
    name = "stemyard"
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    return json.dumps(document, indent=1)


def with_certificate(pair: KeyPair) -> dict[str, str]:
    """Return the credentials of a client certificate, embedded."""
    return {
        "client-certificate-data": base64.b64encode(pair.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(pair.key.read_bytes()).decode(),
    }


def with_token(token: str) -> dict[str, str]:
    """Return the credentials of a bearer token."""
    return {"token": token}


def write(path: Path, content: str) -> Path:
    """Write a file with mode 0600 and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(content)
    return path
