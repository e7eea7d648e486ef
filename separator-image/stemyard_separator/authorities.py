"""CAs that a separator trusts beside the public ones, in a folder that the kubelet updates while the pod runs."""

import ssl
from pathlib import Path


class Authorities:
    """Adds the CAs of a folder to a TLS context, also those that appear later; none is removed from it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load what has changed since the last call.

        Raises:
            OSError: a file cannot be read, or is not a certificate (ssl.SSLError).
        """
        for path in self._folder.glob("*.crt"):
            found = path.stat()
            stat = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._seen.get(path) != stat:
                context.load_verify_locations(cafile=path)
                self._seen[path] = stat
