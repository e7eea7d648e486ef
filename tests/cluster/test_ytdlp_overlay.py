"""A newer yt-dlp on a volume answers in place of the separator image's own; one that is too old does not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from charts.helm import merge
from charts.install import install
from tests.cluster.conftest import System
from tests.cluster.separations import separate
from tests.cluster.test_release import release_of

CLAIM = "newer-ytdlp"
FILL = """
import pathlib, shutil, yt_dlp, yt_dlp_ejs
for package in (yt_dlp, yt_dlp_ejs):
    installed = pathlib.Path(package.__file__).parent
    shutil.copytree(installed, pathlib.Path("/overlay", installed.name), ignore=shutil.ignore_patterns("__pycache__"))
version = pathlib.Path("/overlay/yt_dlp/version.py")
own = yt_dlp.version.__version__
version.write_text(version.read_text().replace(repr(own), repr(own + ".1")))
with pathlib.Path("/overlay/yt_dlp/extractor/youtube/_video.py").open("a") as extractor:
    extractor.write('''
_extract = YoutubeIE.extract
def _answer(self, url):
    return {**_extract(self, url), "track": "answered by the overlay"}
YoutubeIE.extract = _answer
''')
print(own)
"""
"""Copies the image's own yt-dlp as the next version, with an extractor that gives another title."""


@pytest.fixture(scope="module")
def own_version(system: System) -> Iterator[str]:
    """Fill a claim with an overlay; return the version of the image's own yt-dlp."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
    }
    try:
        for manifest in (claim, filling_pod()):
            system.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        system.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s", f"pod/{CLAIM}")
        yield system.kubectl("logs", CLAIM).strip()
    finally:
        system.kubectl("delete", f"pod/{CLAIM}", f"pvc/{CLAIM}", "--ignore-not-found", "--wait=false")


def filling_pod() -> dict[str, Any]:
    container = {
        "name": "fill",
        "image": "localhost/stemyard/separator-cpu:test",
        "command": ["python", "-c", FILL],
        "volumeMounts": [{"name": "overlay", "mountPath": "/overlay"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CLAIM},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "overlay", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }


@contextmanager
def installed_with(system: System, overlay: dict[str, str]) -> Iterator[None]:
    release = release_of(system)
    values = merge(release.values, {"sources": {"youtube": {"overlay": overlay}}})
    try:
        install(replace(release, values=values), print, timeout=300)
        yield
    finally:
        install(release, print, timeout=300)


def searched(system: System, query: str) -> tuple[str, list[dict[str, Any]]]:
    """Separate what a search finds; return its title and the log of its fetch pod."""
    state = separate(system.service, {"search_query": query})
    track = state["track_id"]
    logs = system.kubectl("logs", "-l", f"stemyard.dev/track-id={track},stemyard.dev/stage=fetch", "--tail=-1")
    return system.resource_of(track)["status"]["source"]["title"], [json.loads(line) for line in logs.splitlines()]


def version_in(log: list[dict[str, Any]]) -> str:
    [started] = [line for line in log if line["message"] == "downloader started"]
    return str(started["versions"]["yt-dlp"])


def test_an_overlay_answers_in_place_of_the_images_own_yt_dlp(system: System, own_version: str) -> None:
    with installed_with(system, {"claim": CLAIM}):
        title, log = searched(system, "overlay in use")

    assert title == "answered by the overlay"
    assert version_in(log) == f"{own_version}.1"


def test_an_overlay_that_is_too_old_leaves_the_images_own(system: System, own_version: str) -> None:
    with installed_with(system, {"claim": CLAIM, "leastVersion": "2999.1.1"}):
        title, log = searched(system, "overlay too old")

    assert title == "The Stand-ins - Loopback Blues"
    assert version_in(log) == own_version
    [refused] = [line for line in log if "overlay refused" in line["message"]]
    assert "is less than 2999.1.1" in refused["reason"]
