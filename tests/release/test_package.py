"""A release's chart pins its images by digest, and its notes are the changelog's."""

import tarfile
from pathlib import Path

import pytest
import yaml

from charts.helm import Helm, Release, merge
from charts.package import PackageError, package, pinned
from charts.release_notes import NoNotesError, notes
from tests.chart.rendered import BUCKET, RELEASE, container, environment, with_fixed

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
    rendered = Helm().template(Release(RELEASE, "songs", chart, with_fixed(BUCKET)))
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    assert container(objects, "api")["image"] == f"ghcr.io/stemyard/api@{DIGESTS['api']}"
    assert container(objects, "operator")["image"] == "ghcr.io/stemyard/operator:1.2.0"
    images = environment(objects, "operator")
    assert images["SEPARATOR_IMAGE_CUDA"] == f"ghcr.io/stemyard/separator@{DIGESTS['separatorCuda']}"
    assert images["SEPARATOR_IMAGE_CPU"] == "ghcr.io/stemyard/separator:1.2.0-cpu"


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ({"tag": "1.2.1-cuda"}, "ghcr.io/stemyard/separator:1.2.1-cuda"),
        ({"tag": "1.2.0-cuda"}, f"ghcr.io/stemyard/separator@{DIGESTS['separatorCuda']}"),
        ({"repository": "example.com/own"}, "example.com/own:1.2.0-cuda"),
        ({"digest": "sha256:" + "3" * 64}, "ghcr.io/stemyard/separator@sha256:" + "3" * 64),
    ],
)
def test_a_given_tag_or_repository_is_another_image_than_the_pinned_one(
    chart: Path, given: dict[str, str], reference: str
) -> None:
    values = merge(with_fixed(BUCKET), {"images": {"separatorCuda": given}})
    rendered = Helm().template(Release(RELEASE, "songs", chart, values))
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    assert environment(objects, "operator")["SEPARATOR_IMAGE_CUDA"] == reference


def test_a_mirror_has_the_pinned_images(chart: Path) -> None:
    values = merge(with_fixed(BUCKET), {"images": {"registry": "mirror.example.com"}})
    rendered = Helm().template(Release(RELEASE, "songs", chart, values))
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    assert container(objects, "api")["image"] == f"mirror.example.com/stemyard/api@{DIGESTS['api']}"


def test_the_packed_chart_is_whole_and_has_nothing_of_the_demo(chart: Path) -> None:
    assert DIGESTS["api"] in (chart / "files/pinned-images.yaml").read_text()
    assert Helm().lint(Release(RELEASE, "songs", chart, BUCKET)) == []
    assert not (chart / "values-demo.yaml").exists()
    assert (chart / "files/test/clip.mp3").exists()


@pytest.mark.parametrize(
    ("image", "digest", "said"),
    [("apu", DIGESTS["api"], "no image 'apu'"), ("api", "latest", "not a digest"), ("", DIGESTS["api"], "no image")],
)
def test_what_cannot_be_pinned_is_refused(image: str, digest: str, said: str) -> None:
    with pytest.raises(PackageError, match=said):
        pinned({"api": {"repository": "example.com/api", "tag": ""}}, "1.2.0", {image: digest})


def test_notes_are_of_one_version() -> None:
    assert notes(CHANGELOG, "1.2.0") == "### Added\n- More.\n"
    assert notes(CHANGELOG, "1.1.0") == "- Less.\n"


@pytest.mark.parametrize("version", ["Unreleased", "1.3.0"])
def test_a_version_without_notes_is_refused(version: str) -> None:
    with pytest.raises(NoNotesError, match="has no notes"):
        notes(CHANGELOG, version)
