"""What a cluster on this machine can be asked, whichever kind it is."""

from pathlib import Path
from typing import Protocol

from localcluster.builder import Build


class Provider(Protocol):
    """A one-machine cluster and the way images get into it."""

    def prepare(self) -> None:
        """Do everything that needs network or compiling, and keep it in the cache."""

    def up(self, gpus: int, workers: int = 0) -> None:
        """Bring the cluster up; nothing happens to one that is up.

        Args:
            gpus: imitated GPUs that each node advertises.
            workers: nodes beside the control plane's, which alone takes the pods when there are none.

        Raises:
            LocalClusterError: this kind of cluster cannot have so many nodes.
        """

    def down(self) -> None:
        """Remove the cluster; nothing happens when there is none."""

    def problems(self) -> list[str]:
        """What keeps the cluster from being healthy, one sentence each."""

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    def node_address(self) -> str:
        """Where NodePorts answer for this machine."""

    def base_image(self) -> str:
        """Name of the base image that builds use; empty for the one the Dockerfile names."""

    def build_image(self, build: Build) -> str:
        """Build an image, bring it into the cluster when that is up, and return its digest."""

    def load_image(self, archive: Path) -> str:
        """Bring an archived image into the cluster and return its digest."""

    def support_images(self) -> dict[str, str]:
        """Make the S3 server's and Valkey's images usable in the cluster; answers with `image_names()`."""

    def image_names(self) -> dict[str, str]:
        """Names of the S3 server's and Valkey's images by environment variable."""
