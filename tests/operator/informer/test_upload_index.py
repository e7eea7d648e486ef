"""An upload is needed while a SeparationJob of the API's namespace that names it is at work or may run again."""

from datetime import timedelta
from typing import Any

import pytest

from stemyard_contract.source import UploadSource
from stemyard_operator.informer.upload_index import UploadIndex
from tests.operator.world import NAMESPACE, START, stamp

ID = "0b1f2f3e-0000-4000-8000-000000000000"
UPLOAD = UploadSource(id=ID, owner="default")
DAY = timedelta(hours=24)


def song(uid: str, spec: dict[str, Any] | None = None, namespace: str = NAMESPACE, **status: Any) -> dict[str, Any]:
    source = {"upload": {"id": ID, "owner": "default"}}
    return {
        "metadata": {"namespace": namespace, "name": uid, "uid": uid},
        "spec": {"source": source, **(spec or {})},
        "status": status,
    }


def ended(phase: str, **more: Any) -> dict[str, Any]:
    return {"phase": phase, "run": 1, "finishedAt": stamp(START), **more}


@pytest.mark.parametrize(
    ("other", "in_use"),
    [
        (song("b"), True),
        (song("b", phase="Fetching", run=1), True),
        (song("b", **ended("Completed")), False),
        (song("b", {"run": 2}, **ended("Completed")), True),
        (song("b", **ended("Failed")), True),
        (song("b", **ended("Failed") | {"finishedAt": stamp(START - DAY)}), False),
        (song("b", **ended("Cancelled")), True),
        (song("b", **ended("Failed") | {"finishedAt": "0000-01-01T00:00:00Z"}), True),
        (song("b", namespace="tenant"), False),
        (song("b", {"source": {"upload": {"id": ID, "owner": "another"}}}), False),
        (song("b", {"source": {"url": "https://example.com/a.mp3"}}), False),
        (song("b", {"source": {"upload": "of another schema"}}), False),
    ],
)
def test_who_needs_an_upload(other: dict[str, Any], in_use: bool) -> None:
    index = UploadIndex(NAMESPACE, lambda: START)
    index.learn(song("a"))
    index.learn(other)
    assert index.in_use(UPLOAD, "a") is in_use


def test_it_follows_the_newest_state_and_deletions() -> None:
    index = UploadIndex(NAMESPACE, lambda: START)
    index.learn(song("a"))
    assert not index.in_use(UPLOAD, "a")
    index.learn(song("b"))
    index.learn(song("c", **ended("Failed")))
    index.learn(song("b", **ended("Completed")))
    assert index.in_use(UPLOAD, "a")
    index.forget("c")
    assert not index.in_use(UPLOAD, "a")
    assert index.in_use(UPLOAD, "b")
    index.forget("a")
    assert not index.in_use(UPLOAD, "b")
