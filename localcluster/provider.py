"""The interface of both kinds of cluster."""

from pathlib import Path
from typing import Protocol

from localcluster.builder import Build


class Provider(Protocol):
    """A cluster on this machine, and the builder of its images."""

    def prepare(self) -> None:
        """Download and compile everything that `up` needs, into the cache."""

    def up(self, gpus: int, workers: int = 0) -> None:
        """Bring the cluster up unless it is up.

        Args:
            gpus: number of simulated GPUs that each node advertises.
            workers: number of worker nodes; with 0 the control plane's node runs the pods.

        Raises:
            LocalClusterError: this kind of cluster does not support so many nodes.
        """

    def down(self) -> None:
        """Remove the cluster if it exists."""

    def problems(self) -> list[str]:
        """Return one sentence for each problem; an empty list if the cluster is healthy."""

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig."""

    def node_address(self) -> str:
        """Return the address at which this machine reaches NodePorts."""

    def base_image(self) -> str:
        """Return the base image for builds; empty for the Dockerfile's default."""

    def build_image(self, build: Build) -> str:
        """Build an image, load it if the cluster is up, and return its digest."""

    def load_image(self, archive: Path) -> str:
        """Load an archived image into the cluster and return its digest."""

    def support_images(self) -> dict[str, str]:
        """Make the images of the S3 server and Valkey available in the cluster; return `image_names()`."""

    def image_names(self) -> dict[str, str]:
        """Return the names of the images of the S3 server and Valkey by environment variable."""
