"""A minimal API server client: JSON over HTTPS with a client certificate, using only the standard library."""

import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.certificates import KeyPair
from localcluster.errors import ApiRefusedError, NotReadyError

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
FIELD_MANAGER = "stemyard-localcluster"

Document = dict[str, Any]


@dataclass(frozen=True)
class KubeApi:
    """A client of one API server with one identity.

    Attributes:
        server: its address, `https://host:port`.
        authority: PEM file of the trusted certificate authority.
        identity: client certificate.
    """

    server: str
    authority: Path
    identity: KeyPair

    def get(self, path: str) -> Document:
        """Read one object or list."""
        return self._json("GET", path)

    def post(self, path: str, body: Document) -> Document:
        """Create an object or call a subresource."""
        return self._json("POST", path, body)

    def delete(self, path: str) -> Document:
        """Delete one object."""
        return self._json("DELETE", path)

    def apply(self, path: str, body: Document) -> Document:
        """Server-side apply `body` to the object at this path, with force."""
        query = f"{path}?fieldManager={FIELD_MANAGER}&force=true"
        return self._json("PATCH", query, body, APPLY)

    def merge(self, path: str, body: Document) -> Document:
        """Apply a JSON merge patch."""
        return self._json("PATCH", path, body, MERGE)

    def is_ready(self) -> bool:
        """Return whether `/readyz` answers `ok`."""
        try:
            return self._call("GET", "/readyz", None, "application/json", timeout=2.0) == b"ok"
        except (OSError, ApiRefusedError):
            return False

    def wait_ready(self, seconds: float) -> None:
        """Wait until `/readyz` answers `ok`.

        Raises:
            NotReadyError: it did not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise NotReadyError(f"the API server at {self.server} was not ready within {seconds:.0f} s")
            time.sleep(0.1)

    def _json(self, method: str, path: str, body: Document | None = None, kind: str = "application/json") -> Document:
        document: Document = json.loads(self._call(method, path, body, kind, timeout=15.0))
        return document

    def _call(self, method: str, path: str, body: Document | None, kind: str, timeout: float) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind, "Accept": "application/json"}
        request = urllib.request.Request(self.server + path, data=data, method=method, headers=headers)
        try:
            with self._opener().open(request, timeout=timeout) as response:
                content: bytes = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise ApiRefusedError(error.code, error.read().decode(errors="replace")[:500]) from error
        return content

    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        # Without the environment's proxy, which cannot reach a cluster on this machine.
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
