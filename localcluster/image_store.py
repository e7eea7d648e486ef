"""The images a running node holds: asks containerd what is there and hands it what is missing."""

import tarfile
import tempfile
from pathlib import Path

from localcluster import oci
from localcluster.errors import LocalClusterError
from localcluster.node_config import CONTAINERD_SOCKET
from localcluster.progress import say
from localcluster.namespaces import Namespaces

IMPORT_LIMIT = 900.0


class ImageStore:
    """containerd's images of one node (its namespace k8s.io)."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    def digests(self) -> dict[str, str]:
        """Manifest digest of every image by name."""
        rows = [line.split() for line in self._ctr("images", "list").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def load(self, layout: Path, name: str) -> str:
        """Bring an OCI layout folder into the node under `name`, unless that very image is there; return its digest."""
        digest = str(oci.manifest_of(layout)["digest"])
        if self.digests().get(name) == digest:
            say(f"{name} is in the cluster already")
            return digest
        present = set(self._ctr("content", "list", "--quiet").split())
        with tempfile.TemporaryDirectory(dir=layout.parent) as folder:
            archive = Path(folder) / "image.tar"
            oci.pack(layout, name, present, archive)
            self._ctr("images", "import", str(archive))
        say(f"{name} is in the cluster now ({digest[:19]})")
        return digest

    def load_archive(self, archive: Path) -> str:
        """Bring an `oci-archive:` file into the node under the name it carries.

        Raises:
            LocalClusterError: the archive is not OCI, or carries no full image name.
        """
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            layout = Path(folder) / "layout"
            try:
                with tarfile.open(archive) as tar:
                    tar.extractall(layout, filter="data")
                notes = oci.manifest_of(layout).get("annotations", {})
                oci.configuration_of(layout)
            except (tarfile.TarError, OSError, KeyError, ValueError) as error:
                message = f"{archive} is not an OCI archive of one image; write one with `oci-archive:`"
                raise LocalClusterError(message) from error
            name = str(notes.get(oci.NAME) or notes.get(oci.REFERENCE) or "")
            if ":" not in name:
                raise LocalClusterError(f"{archive} carries no image name; write it as `oci-archive:FILE:name:tag`")
            return self.load(layout, name)

    def _ctr(self, *arguments: str) -> str:
        command: list[str | Path] = ["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", *arguments]
        return self._namespaces.run(command, timeout=IMPORT_LIMIT)
