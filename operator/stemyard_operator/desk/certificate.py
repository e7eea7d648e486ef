"""The desk's certificate: read again, without a restart, when its issuer has renewed it."""

import logging
import ssl
from pathlib import Path

from stemyard_operator.errors import ConfigurationError

_Stat = tuple[tuple[int, int, int], ...]

log = logging.getLogger(__name__)


class RenewedCertificate:
    """Looks at the files at each handshake; those that cannot be used are reported, and the last good pair is kept.

    Args:
        folder: has the certificate's chain in tls.crt and its key in tls.key, as a Secret of type kubernetes.io/tls.

    Raises:
        ConfigurationError: there is no usable pair at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "tls.crt", folder / "tls.key"
        try:
            self._seen = self._stat()
            self.context = self._latest = self._load()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"DESK_TLS_DIR {folder}: {error}") from error
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        """Serve a handshake with the newest certificate; OpenSSL calls this whether or not the client sent a name."""
        try:
            found = self._stat()
            if found != self._seen:
                self._seen = found
                self._latest = self._load()
                log.info("the desk's certificate was read again")
        except (OSError, ValueError) as error:
            log.error("the desk's certificate was not read again: %s", error)  # noqa: TRY400 - the message is enough
        connection.context = self._latest

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate, key = self._paths
        context.load_cert_chain(certificate, key)
        return context

    def _stat(self) -> _Stat:
        found = [path.stat() for path in self._paths]
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
