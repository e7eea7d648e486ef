"""A newer yt-dlp in a folder takes the place of the installed one, for the process that downloads alone."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yt_dlp
import yt_dlp_ejs

from stemyard_contract.separationjob import Source
from stemyard_separator.youtube.messages import Overlay
from stemyard_separator.youtube.overlay import PACKAGES, OverlayError, use_overlay
from tests.support import separator_process as separator
from tests.support.audio import CLIP
from tests.support.desk_double import DeskDouble
from tests.support.youtube_server import FakeYoutube, Recording

VIDEO = "abcdefghijk"
LINK = Source(url=f"https://youtu.be/{VIDEO}")
OWN = version("yt-dlp")
NEWER = f"{OWN}.1"
ANSWER = """
_extract = YoutubeIE.extract
def _answer(self, url):
    return {**_extract(self, url), "track": "answered by the overlay"}
YoutubeIE.extract = _answer
"""


def overlay(folder: Path, number: str = NEWER) -> Path:
    """Copy the installed packages as those of another version."""
    for package in (yt_dlp, yt_dlp_ejs):
        installed = Path(str(package.__file__)).parent
        shutil.copytree(installed, folder / installed.name, copy_function=linked)
    path = folder / "yt_dlp/version.py"
    rewrite(path, path.read_text().replace(f"'{OWN}'", f"'{number}'"))
    return folder


def linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def rewrite(path: Path, text: str) -> None:
    path.unlink()  # linked with the installed file
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


@pytest.fixture
def youtube() -> Iterator[FakeYoutube]:
    with FakeYoutube({VIDEO: Recording({"duration": 11, "track": "A song"}, CLIP.read_bytes())}) as running:
        yield running


def fetch(desk: DeskDouble, youtube: FakeYoutube, folder: Path, overlay: Path, **more: str) -> separator.Ended:
    environment = {**youtube.environment, "STEMYARD_YOUTUBE_OVERLAY": str(overlay), **more}
    ended = separator.run(separator.assignment(desk, LINK), folder, **environment)
    assert ended.exit_code == 0, ended.output
    return ended


def test_an_overlay_answers_in_place_of_the_installed_yt_dlp(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    newer = overlay(tmp_path / "overlay")
    extractor = newer / "yt_dlp/extractor/youtube/_video.py"
    rewrite(extractor, extractor.read_text() + ANSWER)
    (newer / "pydantic").mkdir()
    (newer / "pydantic/__init__.py").write_text("raise ImportError('not the overlay of this')")

    ended = fetch(desk, youtube, tmp_path, newer)

    mark = separator.fetched_mark(desk)
    assert mark.media.title == "answered by the overlay"
    assert mark.versions["yt-dlp"] == NEWER
    assert mark.versions["yt-dlp-ejs"] == version("yt-dlp-ejs")
    [started] = [line for line in ended.lines() if line["message"] == "downloader started"]
    assert started["versions"]["yt-dlp"] == NEWER
    assert "overlay refused" not in ended.output


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("syntax", "SyntaxError"), ("an interface that is gone", "ImportError: cannot import name 'CookieLoadError'")],
)
def test_a_broken_overlay_leaves_the_installed_yt_dlp(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path, broken: str, reason: str
) -> None:
    newer = overlay(tmp_path / "overlay")
    module = newer / "yt_dlp/cookies.py"
    rewrite(module, "def" if broken == "syntax" else module.read_text().replace("CookieLoadError", "LoadError"))

    ended = fetch(desk, youtube, tmp_path, newer)

    mark = separator.fetched_mark(desk)
    assert (mark.media.title, mark.versions["yt-dlp"]) == ("A song", OWN)
    [refused] = [line for line in ended.lines() if "overlay refused" in line["message"]]
    assert f"It cannot be imported: {reason}" in refused["reason"]


YEAR, *REST = OWN.split(".")


@pytest.mark.parametrize(
    ("number", "bounds", "reason"),
    [
        ("2020.1.1", {}, f"2020.1.1 is less than {OWN}"),
        (NEWER, {"least": f"{NEWER}.1"}, f"is less than {NEWER}.1"),
        (NEWER, {"greatest": OWN}, f"is greater than {OWN}"),
        (".".join((str(int(YEAR) + 2), *REST)), {}, "is greater than"),
        ("a new one", {}, "states no version"),
    ],
)
def test_versions_out_of_bounds_are_refused(tmp_path: Path, number: str, bounds: dict[str, str], reason: str) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "yt_dlp/version.py").write_text(f"__version__ = '{number}'\n")

    with pytest.raises(OverlayError) as caught:
        use_overlay(Overlay(folder=str(tmp_path), **bounds))

    assert reason in str(caught.value)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_without_both_packages_is_refused(tmp_path: Path, package: str) -> None:
    other = next(name for name in PACKAGES if name != package)
    (tmp_path / other).mkdir()
    (tmp_path / other / "__init__.py").touch()

    with pytest.raises(OverlayError, match=f"no package {package}"):
        use_overlay(Overlay(folder=str(tmp_path)))


def test_a_refused_overlay_leaves_nothing_behind(tmp_path: Path) -> None:
    finders, modules = list(sys.meta_path), {name: sys.modules[name] for name in sys.modules if "yt_dlp" in name}

    with pytest.raises(OverlayError):
        use_overlay(Overlay(folder=str(tmp_path / "missing")))

    assert sys.meta_path == finders
    assert {name: sys.modules[name] for name in sys.modules if "yt_dlp" in name} == modules


@pytest.mark.skipif(not separator.TESTED_OVERLAY, reason="no overlay is under test: see `make test-ytdlp`")
def test_the_overlay_under_test_is_the_one_that_is_used(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    ended = separator.run(separator.assignment(desk, LINK), tmp_path, **youtube.environment)

    assert ended.exit_code == 0, ended.output
    assert "overlay refused" not in ended.output
    assert str(yt_dlp.__file__).startswith(separator.TESTED_OVERLAY)
    assert separator.fetched_mark(desk).versions["yt-dlp"] == yt_dlp.version.__version__
