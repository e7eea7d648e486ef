"""The cluster's certificate authority and the certificates that it signs, made with the openssl program."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.programs import run

# Local clusters are short-lived; a year covers a suspended machine.
DAYS = "365"
TIMEOUT = 20.0


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """The certificate authority of one cluster, for its servers and clients."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """CA certificate that clients trust."""
        return self.folder / "ca.crt"

    def create(self) -> None:
        """Create the CA's key and certificate unless they exist."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not self.certificate.exists():
            self._openssl(
                "req", "-x509", *_NEW_KEY, "-keyout", self.folder / "ca.key", "-out", self.certificate, "-days", DAYS,
                "-subj", "/CN=stemyard-localcluster", "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
            )  # fmt: skip

    def for_server(self, name: str, addresses: Sequence[str], names: Sequence[str]) -> KeyPair:
        """Sign a server certificate for IP addresses and DNS names."""
        alternatives = [f"IP:{address}" for address in addresses] + [f"DNS:{each}" for each in names]
        return self._sign(
            name, f"/CN={name}", [f"subjectAltName={','.join(alternatives)}", "extendedKeyUsage=serverAuth"]
        )

    def for_client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """Sign a client certificate; Kubernetes reads the user from CN and the groups from each O."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        return self._sign(client_name(user), subject, ["extendedKeyUsage=clientAuth"])

    def signing_key(self, name: str) -> KeyPair:
        """Return the key pair (no certificate) that signs and verifies service account tokens; create it if missing."""
        pair = KeyPair(self.folder / f"{name}.pub", self.folder / f"{name}.key")
        if not pair.certificate.exists():
            self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pair.key)
            self._openssl("ec", "-in", pair.key, "-pubout", "-out", pair.certificate)
        return pair

    def _sign(self, name: str, subject: str, extensions: Sequence[str]) -> KeyPair:
        pair = KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        request, options = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        options.write_text("\n".join(["keyUsage=critical,digitalSignature", *extensions]) + "\n")
        self._openssl("req", *_NEW_KEY, "-keyout", pair.key, "-out", request, "-subj", subject)
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca.key",
            "-set_serial", f"0x{os.urandom(16).hex()}", "-days", DAYS, "-extfile", options, "-out", pair.certificate,
        )  # fmt: skip
        return pair

    def _openssl(self, *arguments: str | Path) -> None:
        run(["openssl", *arguments], timeout=TIMEOUT)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def client_name(user: str) -> str:
    """Return the base name of a client's files."""
    return f"client-{user.replace(':', '-').replace('/', '-')}"
