"""Renderings for other platforms, and of the values in the pages, at a real API server: every object is valid there."""

import os
from collections.abc import Iterator

import pytest

from charts.helm import Release, merge
from localcluster.control_plane import ControlPlane
from tests.chart import optional_apis
from tests.chart.installed import documents, dry_run, restricted_namespace
from tests.chart.rendered import RELEASE
from tests.chart.rows import Row
from tests.chart.test_renderings import ROWS
from tests.release.test_docs import VALUES

RENDERED = {
    name: row for name, row in ROWS.items() if not row.refused and name.partition(":")[0] in {"platform", "network"}
}
INSTALLATION = {place: values for place, values in VALUES.items() if place.startswith("docs/07-install.md:")}
"""Values of each task; those of the other pages name namespaces of theirs."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("platforms")) as plane, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(plane.kubeconfig))
        optional_apis.install(plane)
        yield plane


@pytest.fixture(scope="module")
def namespace(plane: ControlPlane) -> str:
    name = f"platforms-{os.urandom(4).hex()}"
    restricted_namespace(plane, name)
    return name


@pytest.mark.parametrize("row", RENDERED.values(), ids=RENDERED)
def test_every_object_of_a_row_is_valid(plane: ControlPlane, namespace: str, row: Row) -> None:
    objects = documents(Release(RELEASE, namespace, values=merge(row.base, row.values)))
    assert len(dry_run(plane, namespace, objects).splitlines()) == len(objects)


@pytest.mark.parametrize("place", INSTALLATION)
def test_every_object_of_a_task_is_valid(plane: ControlPlane, namespace: str, place: str) -> None:
    objects = documents(Release(RELEASE, namespace, values=INSTALLATION[place]))
    assert len(dry_run(plane, namespace, objects).splitlines()) == len(objects)
