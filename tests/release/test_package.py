"""A release's chart pins its images by digest, and its notes are the changelog's."""

import tarfile
from pathlib import Path

import pytest
import yaml

from charts.helm import Helm, Release
from charts.package import PackageError, package, pinned
from charts.release_notes import NoNotesError, notes
from tests.chart.rendered import BUCKET, RELEASE, container, environment

DIGESTS = {"api": "sha256:" + "1" * 64, "separatorCuda": "sha256:" + "2" * 64}
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-25\n\n### Added\n- More.\n\n## [1.1.0]\n\n- Less.\n"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    archive = package("1.2.0", DIGESTS, tmp_path / "dist")
    assert archive.name == "stemyard-1.2.0.tgz"
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / "stemyard"


def test_images_are_pinned_and_the_rest_follows_the_version(chart: Path) -> None:
    rendered = Helm().template(Release(RELEASE, "songs", chart, BUCKET))
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    assert container(objects, "api")["image"] == f"ghcr.io/stemyard/api@{DIGESTS['api']}"
    assert container(objects, "operator")["image"] == "ghcr.io/stemyard/operator:1.2.0"
    images = environment(objects, "operator")
    assert images["SEPARATOR_IMAGE_CUDA"] == f"ghcr.io/stemyard/separator@{DIGESTS['separatorCuda']}"
    assert images["SEPARATOR_IMAGE_CPU"] == "ghcr.io/stemyard/separator:1.2.0-cpu"


def test_the_packed_chart_is_whole_and_has_nothing_of_the_demo(chart: Path) -> None:
    assert DIGESTS["api"] in (chart / "values.yaml").read_text()
    assert Helm().lint(Release(RELEASE, "songs", chart, BUCKET)) == []
    assert not (chart / "values-demo.yaml").exists()
    assert (chart / "files/test/clip.mp3").exists()


@pytest.mark.parametrize(
    ("image", "digest", "said"),
    [("apu", DIGESTS["api"], "no image 'apu'"), ("api", "latest", "not a digest"), ("", DIGESTS["api"], "no image")],
)
def test_what_cannot_be_pinned_is_refused(image: str, digest: str, said: str) -> None:
    with pytest.raises(PackageError, match=said):
        pinned('\nimages:\n  api:\n    digest: ""\n', image, digest)


def test_notes_are_of_one_version() -> None:
    assert notes(CHANGELOG, "1.2.0") == "### Added\n- More.\n"
    assert notes(CHANGELOG, "1.1.0") == "- Less.\n"


@pytest.mark.parametrize("version", ["Unreleased", "1.3.0"])
def test_a_version_without_notes_is_refused(version: str) -> None:
    with pytest.raises(NoNotesError, match="has no notes"):
        notes(CHANGELOG, version)
