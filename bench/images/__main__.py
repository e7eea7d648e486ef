"""`python -m bench.images`: builds the images and measures their compressed sizes.

Prints `name value unit target ok|short`, and writes the same to `bench/results/`.
"""

import argparse
import datetime
import sys
from pathlib import Path

from bench.images.weighing import weigh
from bench.separation.figures import machine
from demo.images import IMAGES, build
from localcluster import cli
from localcluster.folders import here
from localcluster.local_provider import LocalProvider
from localcluster.progress import say

_RESULTS = Path(__file__).parents[1] / "results" / "images.txt"
_TAG = "dev"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__)
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    provider = cli.provider(here())
    if not isinstance(provider, LocalProvider):
        sys.exit("bench.images measures localcluster's images; those built by Docker have another base")
    build(provider, _TAG, say)
    images = {image.name: provider.layout(f"{image.repository()}:{_TAG}") for image in IMAGES}
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}", *(figure.line() for figure in weigh(images))]
    print("\n".join(lines))
    if not given.no_save:
        _RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
