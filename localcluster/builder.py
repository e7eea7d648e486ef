"""Builds images without Docker: buildah with its own storage and chroot isolation, in a private mount namespace."""

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
        target: stage to build, empty for the last.
        arguments: values of the Dockerfile's ARGs.
    """

    file: Path
    tag: str
    context: Path
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Builder:
    """Builds images and keeps their layers between builds."""

    folders: Folders

    def build(self, wanted: Build) -> Path:
        """Build an image and return the OCI layout folder that holds it.

        Raises:
            LocalClusterError: there is no such Dockerfile or context.
            CommandFailedError: a step of the Dockerfile failed; the message names the log.
        """
        for path in (wanted.file, wanted.context):
            if not path.exists():
                raise LocalClusterError(f"{path} does not exist")
        with self._storage(), step(f"building {wanted.tag}"):
            identity = self.folders.cache / "build" / f"{_plain(wanted.tag)}.id"
            log = self.folders.logs / f"build-{_plain(wanted.tag)}.log"
            self._buildah([*self._bud(wanted), f"--iidfile={identity}", str(wanted.context)], log=log)
            return self._export(wanted.tag, identity.read_text().strip())

    def pull(self, layout: Path, tag: str) -> None:
        """Import the image of an OCI layout under `tag`, for use as a base."""
        with self._storage():
            # A relative path, since buildah derives an image name from it and an absolute path may not be a valid one.
            self._buildah(["pull", "--quiet", f"oci:{layout.name}"], cwd=layout.parent)
            self._buildah(["tag", f"localhost/{layout.name}", tag])

    def has(self, tag: str) -> bool:
        """Return whether the builder has an image of that name."""
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
        # Docker finds a Dockerfile's ignore file beside it; buildah needs the option.
        ignored = wanted.file.with_name(f"{wanted.file.name}.dockerignore")
        ignore = [f"--ignorefile={ignored}"] if ignored.exists() else []
        return [
            "build", "--isolation=chroot", "--layers", "--format=oci", *target, *arguments, *bound, *ignore,
            f"--file={wanted.file}", f"--tag={wanted.tag}",
        ]  # fmt: skip

    def _export(self, tag: str, identity: str) -> Path:
        layout = self.folders.archives / _plain(tag)
        # An image's id is the digest of its configuration. The layout may hold the same image from an earlier build.
        if (layout / "index.json").exists() and oci.configuration_of(layout) == identity:
            return layout
        # The folder may hold an older image of that name, whose layers are reused but not its index.
        (layout / "index.json").unlink(missing_ok=True)
        self._buildah(["push", "--quiet", "--disable-compression", tag, f"oci:{layout}"])
        oci.prune(layout)
        return layout

    def _buildah(self, arguments: list[str], log: Path | None = None, cwd: Path | None = None) -> str:
        storage, scratch = self.folders.cache / "containers", self.folders.cache / "build" / "scratch"
        running = self.folders.cache / "build" / "run"
        scratch.mkdir(parents=True, exist_ok=True)
        # A private mount namespace: a killed build leaves no mounts behind.
        private = ["unshare", "--mount", "--propagation", "slave", "--"]
        buildah = ["buildah", f"--root={storage}", f"--runroot={running}", "--storage-driver=overlay"]
        # buildah stores `--mount=type=cache` directories below TMPDIR.
        environment = {"TMPDIR": str(scratch)}
        command = [*private, *buildah, *arguments]
        return run(command, timeout=LIMIT, env=environment, log=log, cwd=cwd, tied=True)

    @contextmanager
    def _storage(self) -> Iterator[None]:
        self.folders.cache.mkdir(parents=True, exist_ok=True)
        with (self.folders.cache / "build.lock").open("w") as lock:
            try:
                # No other build runs, so any working containers belong to killed builds.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._buildah(["rm", "--all"])
            except BlockingIOError:
                pass
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield


def _plain(tag: str) -> str:
    return tag.replace("/", "_").replace(":", "_")
