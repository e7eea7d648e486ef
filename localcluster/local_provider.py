"""The provider for machines without Docker: the local cluster, buildah, and images packed from programs."""

import json
from dataclasses import dataclass
from pathlib import Path

from localcluster import base_image, binaries, oci, packages, steps, support_images, tools
from localcluster.builder import Build, Builder
from localcluster.cluster import LocalCluster
from localcluster.errors import LocalClusterError, NotReadyError
from localcluster.folders import Folders
from localcluster.locks import exclusive
from localcluster.progress import say


@dataclass(frozen=True)
class LocalProvider:
    """A cluster of servers compiled from Go modules."""

    folders: Folders

    def prepare(self) -> None:
        """Compile the servers, install packages, build the base image and download tools."""
        # Compiling is CPU-bound throughout; the network-bound steps run in parallel with it.
        compiling = steps.sequence(
            lambda: binaries.cluster_binaries(self.folders),
            lambda: tools.path_of("versitygw", self.folders),
        )
        steps.run_parallel(compiling, self.base_image, lambda: tools.path_of("valkey-server", self.folders))

    def up(self, gpus: int, workers: int = 0) -> None:
        """Bring the cluster up and load every image built here.

        Raises:
            LocalClusterError: `workers` is not 0.
        """
        if workers:
            raise LocalClusterError("a cluster without Docker has one node; leave the workers out, or start Docker")
        cluster = LocalCluster(self.folders)
        steps.run_parallel(lambda: packages.ensure(self.folders), lambda: binaries.cluster_binaries(self.folders))
        cluster.up(gpus)
        for name, layout in self._built().items():
            cluster.images.load(Path(layout), name)

    def down(self) -> None:
        """Remove the cluster and everything outside the cache."""
        LocalCluster(self.folders).down()

    def problems(self) -> list[str]:
        """Return one sentence for each problem of the cluster."""
        return LocalCluster(self.folders).problems()

    def kubeconfig(self) -> Path:
        """Return the path of the administrator's kubeconfig."""
        return LocalCluster(self.folders).kubeconfig

    def node_address(self) -> str:
        """Return the node's address, reachable from this machine and from pods."""
        return LocalCluster(self.folders).node_address

    def base_image(self) -> str:
        """Return the name of the base image built from Debian's packages."""
        return base_image.ensure(self.folders)

    def build_image(self, build: Build) -> str:
        """Build with buildah; the image is loaded now if the cluster is up, else by `up`."""
        packages.ensure(self.folders)
        layout = Builder(self.folders).build(build)
        self._remember(build.tag, layout)
        return self._load(layout, build.tag)

    def layout(self, tag: str) -> Path:
        """Return the OCI layout folder of an image built here.

        Raises:
            KeyError: no image of that name was built.
        """
        return Path(self._built()[tag])

    def load_image(self, archive: Path) -> str:
        """Load an `oci-archive:` file into the cluster.

        Raises:
            NotReadyError: the cluster is down.
        """
        if not self._is_up():
            raise NotReadyError("the cluster is down; start it with `python3 -m localcluster up`")
        return LocalCluster(self.folders).images.load_archive(archive.absolute())

    def support_images(self) -> dict[str, str]:
        """Pack the images from their programs, load them and return their names."""
        for name, layout in support_images.layouts(self.folders).items():
            self._remember(name, layout)
            self._load(layout, name)
        return self.image_names()

    def image_names(self) -> dict[str, str]:
        """Return the names of the images packed here."""
        return {"STEMYARD_S3_IMAGE": support_images.S3, "STEMYARD_VALKEY_IMAGE": support_images.VALKEY}

    def _load(self, layout: Path, name: str) -> str:
        if self._is_up():
            return LocalCluster(self.folders).images.load(layout, name)
        say(f"the cluster is down; `up` will load {name}")
        return str(oci.manifest_of(layout)["digest"])

    def _is_up(self) -> bool:
        return not self.problems()

    @property
    def _index(self) -> Path:
        return self.folders.archives / "built.json"

    def _built(self) -> dict[str, str]:
        known: dict[str, str] = json.loads(self._index.read_text()) if self._index.exists() else {}
        return {name: layout for name, layout in known.items() if (Path(layout) / "index.json").exists()}

    def _remember(self, name: str, layout: Path) -> None:
        with exclusive(self.folders.cache / "built.lock"):
            self._index.write_text(json.dumps(self._built() | {name: str(layout)}, indent=1))
