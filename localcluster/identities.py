"""The identities of a control plane: its CA, its servers' certificates and its clients' kubeconfigs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster import kubeconfig
from localcluster.certificates import Authority, KeyPair, client_name
from localcluster.kube_api import KubeApi
from localcluster.server_flags import ControlPlaneFiles

SERVER_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)
MASTERS = "system:masters"


@dataclass(frozen=True)
class Identities:
    """The identities of one control plane, in its folder."""

    folder: Path

    @property
    def authority(self) -> Authority:
        """The certificate authority that signs all of them."""
        return Authority(self.folder / "pki")

    @property
    def admin(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    @property
    def server(self) -> str:
        """The API server's address, `https://host:port`, from the administrator's kubeconfig."""
        return str(json.loads(self.admin.read_text())["clusters"][0]["cluster"]["server"])

    @property
    def api(self) -> KubeApi:
        """A client with the administrator's permissions."""
        return KubeApi(self.server, self.authority.certificate, self._pair("client-admin"))

    def create(self, address: str, port: int, service_address: str) -> None:
        """Create the servers' certificates and kubeconfigs unless the administrator's, written last, exists."""
        if self.admin.exists():
            return
        server = f"https://{address}:{port}"
        self.authority.create()
        self.authority.for_server("kube-apiserver", [address, "127.0.0.1", service_address], SERVER_NAMES)
        self.authority.for_client("kube-apiserver", [MASTERS])
        self.authority.for_client("front-proxy-client")
        self.authority.signing_key("service-accounts")
        self._client(server, "system:kube-controller-manager", ())
        self._client(server, "system:kube-scheduler", ())
        self._client(server, "admin", [MASTERS])

    def client(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig with a client certificate of any user and groups."""
        return self._client(self.server, user, groups)

    def client_pair(self, user: str) -> KeyPair:
        """Return the certificate and key of a client that has a kubeconfig."""
        return self._pair(client_name(user))

    def files(self) -> ControlPlaneFiles:
        """Return the files that the servers read."""
        server, kubelet = self._pair("kube-apiserver"), self._pair("client-kube-apiserver")
        signing, proxy = self.authority.signing_key("service-accounts"), self._pair("client-front-proxy-client")
        return ControlPlaneFiles(
            authority=self.authority.certificate,
            server_certificate=server.certificate,
            server_key=server.key,
            kubelet_client_certificate=kubelet.certificate,
            kubelet_client_key=kubelet.key,
            signing_key=signing.key,
            verification_key=signing.certificate,
            proxy_client_certificate=proxy.certificate,
            proxy_client_key=proxy.key,
        )

    def _client(self, server: str, user: str, groups: Sequence[str]) -> Path:
        pair = self.authority.for_client(user, groups)
        name = pair.certificate.stem.removeprefix("client-")
        credentials = kubeconfig.with_certificate(pair)
        content = kubeconfig.render(server, self.authority.certificate.read_bytes(), user, credentials)
        return kubeconfig.write(self.folder / f"{name}.kubeconfig", content)

    def _pair(self, name: str) -> KeyPair:
        pki = self.authority.folder
        return KeyPair(pki / f"{name}.crt", pki / f"{name}.key")
