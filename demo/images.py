"""The images that the demo and the cluster tests build and load into the cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localcluster.builder import Build
from localcluster.provider import Provider

ROOT: Final = Path(__file__).resolve().parents[1]
DOCKERFILE: Final = "images/Dockerfile"


@dataclass(frozen=True, slots=True)
class Image:
    """One image: the chart's name for it, its own name, its target in the Dockerfile and its build arguments."""

    chart_name: str
    name: str
    target: str
    arguments: tuple[tuple[str, str], ...] = ()

    def repository(self) -> str:
        """Return the name without a tag."""
        return f"localhost/stemyard/{self.name}"


IMAGES: Final = (
    Image("api", "api", "api"),
    Image("operator", "operator", "operator"),
    # It contains the default model's weights, as the released image does, so that they need no volume.
    Image("separatorCpu", "separator-cpu", "cpu", (("BAKE_MODELS", "spleeter-2stems"),)),
)


def build(provider: Provider, tag: str, say: Callable[[str], None]) -> dict[str, str]:
    """Build each image unless it is unchanged; return the digests by the chart's name for the image.

    Raises:
        LocalClusterError: a build failed; the message names the log.
    """
    base = provider.base_image()
    digests = {}
    for image in IMAGES:
        say(f"image {image.repository()}:{tag}")
        arguments = dict(image.arguments) | ({"BASE_IMAGE": base} if base else {})
        request = Build(ROOT / DOCKERFILE, f"{image.repository()}:{tag}", ROOT, image.target, arguments)
        digests[image.chart_name] = provider.build_image(request)
    return digests
