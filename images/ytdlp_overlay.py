"""Fills a folder with a yt-dlp of PyPI and the yt-dlp-ejs that it requires, for `sources.youtube.overlay`.

`python -m images.ytdlp_overlay build/ytdlp` prints the version. images/ytdlp.Dockerfile makes an image of the folder.
"""

import argparse
import compileall
import os
import re
import shutil
import subprocess
from importlib.metadata import Distribution, distributions
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

_SOLVER: Final = re.compile(r"yt-dlp-ejs==([\w.]+); extra == 'default'")
_SELDOM: Final = re.compile(r"/yt_dlp/extractor/(?!youtube/|__init__|_?extractors|lazy_extractors|common)")
"""Extractors of other sites: they are loaded one by one, so their bytecode would only make the image larger."""
_UNNEEDED: Final = ("bin", "share", ".lock")


def build(folder: Path, version: str) -> str:
    """Fill a folder, which is emptied first; return yt-dlp's version.

    Args:
        folder: gets the packages `yt_dlp` and `yt_dlp_ejs` and their licences.
        version: version of yt-dlp; empty means the newest release.

    Raises:
        SystemExit: yt-dlp does not state which yt-dlp-ejs it requires.
        subprocess.CalledProcessError: a package could not be installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    _install(folder, f"yt-dlp=={version}" if version else "yt-dlp")
    ytdlp = _distribution(folder, "yt-dlp")
    solvers = {found[1] for each in ytdlp.requires or () if (found := _SOLVER.fullmatch(each))}
    if len(solvers) != 1:
        raise SystemExit(f"yt-dlp {ytdlp.version} requires not one version of yt-dlp-ejs but {sorted(solvers)}")
    _install(folder, f"yt-dlp-ejs=={solvers.pop()}")
    for name in _UNNEEDED:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    # volumes are read-only, and modification times are not kept everywhere
    compileall.compile_dir(folder, quiet=1, rx=_SELDOM, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return ytdlp.version


def _install(folder: Path, requirement: str) -> None:
    """Install a wheel without its dependencies: the separator image has those, or does without."""
    uv = os.environ.get("UV", "uv")
    options = ("--quiet", "--no-deps", "--no-config", "--only-binary", ":all:", "--link-mode", "copy")
    subprocess.run([uv, "pip", "install", *options, "--target", str(folder), requirement], check=True)


def _distribution(folder: Path, name: str) -> Distribution:
    [found] = [each for each in distributions(path=[str(folder)]) if each.metadata["Name"] == name]
    return found


def main() -> None:
    """Fill the folder and print the version."""
    parser = argparse.ArgumentParser(prog="python -m images.ytdlp_overlay", description=__doc__)
    parser.add_argument("folder", type=Path, help="is emptied first")
    parser.add_argument("--version", default="", help="version of yt-dlp; the newest by default")
    given = parser.parse_args()
    print(build(given.folder, given.version))


if __name__ == "__main__":
    main()
