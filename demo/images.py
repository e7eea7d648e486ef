"""The images of this project: which Dockerfile makes which, and how they get into the cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localcluster.builder import Build
from localcluster.provider import Provider

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Image:
    """One image: the chart's name for it, its Dockerfile, build target and build arguments."""

    chart_name: str
    name: str
    dockerfile: str
    target: str = ""
    arguments: tuple[tuple[str, str], ...] = ()

    def repository(self) -> str:
        """Name without a tag."""
        return f"localhost/stemyard/{self.name}"


IMAGES: Final = (
    Image("api", "api", "api/Dockerfile"),
    Image("operator", "operator", "operator/Dockerfile"),
    # The default model's weights are in it, as in the released image, so that no volume is needed for them.
    Image("separatorCpu", "separator-cpu", "separator-image/Dockerfile", "cpu", (("BAKE_MODELS", "spleeter-2stems"),)),
)


def build(provider: Provider, tag: str, say: Callable[[str], None]) -> dict[str, str]:
    """Build every image, or find it unchanged, and return the digests by the chart's name for each.

    Raises:
        LocalClusterError: a build failed; the message names the log.
    """
    base = provider.base_image()
    digests = {}
    for image in IMAGES:
        say(f"image {image.repository()}:{tag}")
        arguments = dict(image.arguments) | ({"BASE_IMAGE": base} if base else {})
        wanted = Build(ROOT / image.dockerfile, f"{image.repository()}:{tag}", ROOT, image.target, arguments)
        digests[image.chart_name] = provider.build_image(wanted)
    return digests
