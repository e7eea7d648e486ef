"""Building images without Docker: buildah with overlay storage of our own and chroot isolation, in private mounts."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localcluster import build_network, oci
from localcluster.errors import CommandFailedError, LocalClusterError
from localcluster.folders import Folders
from localcluster.programs import run
from localcluster.progress import step

LIMIT = 3600.0


@dataclass(frozen=True)
class Build:
    """One image to build.

    Attributes:
        file: Dockerfile.
        tag: full name, `name:tag`.
        context: folder the Dockerfile copies from.
        target: stage to stop at, empty for the last.
        arguments: values of the Dockerfile's ARGs.
    """

    file: Path
    tag: str
    context: Path
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Builder:
    """Builds with layers that are kept between builds."""

    folders: Folders

    def build(self, wanted: Build) -> Path:
        """Build an image and return the OCI layout folder that holds it.

        Raises:
            LocalClusterError: there is no such Dockerfile or context.
            CommandFailedError: a step of the Dockerfile failed; the log is named.
        """
        for path in (wanted.file, wanted.context):
            if not path.exists():
                raise LocalClusterError(f"{path} does not exist")
        with self._storage(), step(f"building {wanted.tag}"):
            identity = self.folders.cache / "build" / f"{_plain(wanted.tag)}.id"
            log = self.folders.logs / f"build-{_plain(wanted.tag)}.log"
            self._buildah([*self._bud(wanted), f"--iidfile={identity}", str(wanted.context)], log=log)
            return self._export(wanted.tag, identity.read_text().strip())

    def take(self, layout: Path, tag: str) -> None:
        """Make an image of an OCI layout known to the builder under `tag`, for use as a base."""
        with self._storage():
            # A relative path: the builder makes an image name of it, and a home folder is no valid one.
            self._buildah(["pull", "--quiet", f"oci:{layout.name}"], cwd=layout.parent)
            self._buildah(["tag", f"localhost/{layout.name}", tag])

    def knows(self, tag: str) -> bool:
        """Whether the builder has an image of that name."""
        try:
            self._buildah(["inspect", "--type", "image", "--format", "{{.FromImageID}}", tag])
        except CommandFailedError:
            return False
        return True

    def _bud(self, wanted: Build) -> list[str]:
        arguments = [f"--build-arg={name}={value}" for name, value in wanted.arguments.items()]
        bound = [
            f"--volume={source}:{place}:ro" for source, place in build_network.volumes(self.folders.cache / "build")
        ]
        target = [f"--target={wanted.target}"] if wanted.target else []
        # Docker finds a Dockerfile's own ignore file beside it; buildah has to be told.
        ignored = wanted.file.with_name(f"{wanted.file.name}.dockerignore")
        ignore = [f"--ignorefile={ignored}"] if ignored.exists() else []
        return [
            "build", "--isolation=chroot", "--layers", "--format=oci", *target, *arguments, *bound, *ignore,
            f"--file={wanted.file}", f"--tag={wanted.tag}",
        ]  # fmt: skip

    def _export(self, tag: str, identity: str) -> Path:
        layout = self.folders.archives / _plain(tag)
        # An image's id is the digest of its configuration: the layout may hold this very image from an earlier build.
        if (layout / "index.json").exists() and oci.configuration_of(layout) == identity:
            return layout
        # The folder may hold an older image of that name: its layers are reused, its index is not.
        (layout / "index.json").unlink(missing_ok=True)
        self._buildah(["push", "--quiet", "--disable-compression", tag, f"oci:{layout}"])
        oci.prune(layout)
        return layout

    def _buildah(self, arguments: list[str], log: Path | None = None, cwd: Path | None = None) -> str:
        storage, scratch = self.folders.cache / "containers", self.folders.cache / "build" / "scratch"
        running = self.folders.cache / "build" / "run"
        scratch.mkdir(parents=True, exist_ok=True)
        # Mounts of a build that is killed vanish with it.
        private = ["unshare", "--mount", "--propagation", "slave", "--"]
        buildah = ["buildah", f"--root={storage}", f"--runroot={running}", "--storage-driver=overlay"]
        # buildah keeps `--mount=type=cache` folders below TMPDIR.
        environment = {"TMPDIR": str(scratch)}
        command = [*private, *buildah, *arguments]
        return run(command, timeout=LIMIT, env=environment, log=log, cwd=cwd, tied=True)

    @contextmanager
    def _storage(self) -> Iterator[None]:
        self.folders.cache.mkdir(parents=True, exist_ok=True)
        with (self.folders.cache / "build.lock").open("w") as lock:
            try:
                # Alone: whatever working containers there are belong to builds that were killed.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._buildah(["rm", "--all"])
            except BlockingIOError:
                pass
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield


def _plain(tag: str) -> str:
    return tag.replace("/", "_").replace(":", "_")
