"""The images of a running node: imports missing ones into containerd."""

import tarfile
import tempfile
from pathlib import Path

from localcluster import oci
from localcluster.errors import LocalClusterError
from localcluster.namespaces import Namespaces
from localcluster.node_config import CONTAINERD_SOCKET
from localcluster.progress import say

IMPORT_LIMIT = 900.0


class ImageStore:
    """The images in containerd's namespace k8s.io on one node."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    def digests(self) -> dict[str, str]:
        """Return the manifest digest of every image by name."""
        rows = [line.split() for line in self._ctr("images", "list").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def load(self, layout: Path, name: str) -> str:
        """Import an OCI layout under `name` unless the node has the same image; return its digest."""
        digest = str(oci.manifest_of(layout)["digest"])
        if self.digests().get(name) == digest:
            say(f"{name} is already in the cluster")
            return digest
        present = set(self._ctr("content", "list", "--quiet").split())
        with tempfile.TemporaryDirectory(dir=layout.parent) as folder:
            archive = Path(folder) / "image.tar"
            oci.pack(layout, name, present, archive)
            self._ctr("images", "import", str(archive))
        say(f"{name} imported into the cluster ({digest[:19]})")
        return digest

    def load_archive(self, archive: Path) -> str:
        """Import an `oci-archive:` file under the image name that it contains.

        Raises:
            LocalClusterError: the archive is not OCI, or contains no full image name.
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
