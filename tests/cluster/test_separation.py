"""A song goes in, two stems come out: through REST, uploads, links and kubectl."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.cluster.conftest import System
from tests.cluster.separations import separate, submit, upload
from tests.support.audio import CLIP, Audio, golden_stems, read, si_sdr, write_float_wav
from tests.support.waiting import eventually

pytestmark = pytest.mark.cluster


def downloaded(state: dict[str, object], stem: str, folder: Path) -> Audio:
    """One stem, fetched by its link from outside the cluster and decoded."""
    result = state["result"]
    assert isinstance(result, dict)
    answer = httpx.get(result[f"{stem}_url"], timeout=30).raise_for_status()
    assert answer.headers["content-type"] == "audio/mpeg"
    file = folder / f"{stem}.mp3"
    file.write_bytes(answer.content)
    return read(file)


CLIP_BITRATE = 256
"""Asked for by no other test, which would have the clip's stems copied rather than separated."""


@pytest.fixture(scope="module")
def clip_job(system: System) -> dict[str, object]:
    return separate(system.service, {"upload_id": upload(system.service, CLIP), "bitrate": CLIP_BITRATE})


def test_the_clip_becomes_two_stems_of_its_length(clip_job: dict[str, object], tmp_path: Path) -> None:
    source = read(CLIP)
    vocals, instrumental = (downloaded(clip_job, stem, tmp_path) for stem in ("vocals", "instrumental"))
    assert vocals.shape == instrumental.shape == source.shape
    assert np.abs(vocals - instrumental).max() > 0.1
    # mp3 is lossy, yet the pair still sums to the mix, but for the gain
    assert si_sdr(source, vocals + instrumental) > 20


def test_the_job_has_all_fields_of_the_original_service(clip_job: dict[str, object]) -> None:
    assert clip_job["status"] == "completed"
    assert clip_job["progress"] == 100
    created, started, ended = (float(str(clip_job[key])) for key in ("created_at", "started_at", "ended_at"))
    assert created <= started <= ended


def test_asking_again_is_answered_at_once(system: System, clip_job: dict[str, object]) -> None:
    resource = system.resource_of(str(clip_job["track_id"]))
    request = {"upload_id": resource["spec"]["source"]["upload"]["id"], "bitrate": CLIP_BITRATE}
    again = submit(system.service, request)
    assert again["cached"] is True
    assert again["status"] == "completed"
    assert again["track_id"] == clip_job["track_id"]
    assert system.resource_of(str(clip_job["track_id"]))["metadata"]["uid"] == resource["metadata"]["uid"]


def test_one_job_a_stage_was_made(system: System, clip_job: dict[str, object]) -> None:
    status = system.resource_of(str(clip_job["track_id"]))["status"]
    assert status["attempts"] == {"fetch": 1, "separate": 1, "failed": 0, "disruptions": 0}
    assert status["phase"] == "Completed"


def test_the_same_recording_is_separated_once(system: System, clip_job: dict[str, object]) -> None:
    request = {"url": f"{system.media_url}/clip.mp3", "bitrate": CLIP_BITRATE}
    other = separate(system.service, request)
    assert other["track_id"] != clip_job["track_id"]
    status = system.resource_of(str(other["track_id"]))["status"]
    assert status["result"]["copiedFrom"] == f"sep-{clip_job['track_id']}"
    assert status["attempts"] == {"fetch": 1, "separate": 0, "failed": 0, "disruptions": 0}
    theirs, ours = (httpx.get(job["result"]["vocals_url"], timeout=30).content for job in (clip_job, other))  # type: ignore[index]
    assert ours == theirs


def test_kubectl_prints_the_columns(system: System, clip_job: dict[str, object]) -> None:
    header, *rows = system.kubectl("get", "sepjob", "-o", "wide").splitlines()
    assert header.split() == [
        "NAME", "PHASE", "PROGRESS", "REASON", "TITLE", "MODEL", "AGE", "JOB", "DURATION", "FETCHES", "ATTEMPTS",
        "PRIORITY",
    ]  # fmt: skip
    row = next(row for row in rows if str(clip_job["track_id"]) in row)
    assert "Completed" in row
    assert " 100 " in row


def test_both_stems_of_a_known_mix_come_out(system: System, tmp_path: Path) -> None:
    vocals, instrumental = golden_stems()
    mix = write_float_wav(tmp_path / "mix.wav", vocals + instrumental)
    state = separate(system.service, {"upload_id": upload(system.service, mix)})
    for stem, reference in (("vocals", vocals), ("instrumental", instrumental)):
        estimate = downloaded(state, stem, tmp_path)
        assert estimate.shape == reference.shape
        assert si_sdr(reference, estimate) >= 9.0, stem


def test_a_hand_written_resource_is_separated_and_waited_for(system: System) -> None:
    url = f"{system.media_url}/clip.mp3"
    manifest = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": "by-hand"},
        "spec": {"source": {"url": url}, "output": {"bitrate": 192}},
    }
    system.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    system.kubectl("wait", "--for=condition=Complete", "--timeout=300s", "sepjob/by-hand")
    status = json.loads(system.kubectl("get", "sepjob", "by-hand", "-o", "json"))["status"]
    assert status["trackId"] == f"{system.namespace}.by-hand"
    assert set(status["result"]["stems"]) == {"vocals", "instrumental"}
    url, headers = f"{system.service.url}/job/{status['trackId']}", {"X-API-Key": system.service.api_key}
    # the mirror, which the API reads, follows the resource
    eventually(lambda: httpx.get(url, headers=headers, timeout=10).json()["status"] == "completed")


def test_the_gpu_profile_holds_a_gpu_while_separating_only(system: System) -> None:
    """The node advertises imitated GPUs: counted and given out as real ones are."""
    spec = {"source": {"url": system.take("on-gpu")}, "profile": "gpu"}
    manifest = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": "on-gpu"},
        "spec": spec,
    }
    system.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    system.kubectl("wait", "--for=condition=Complete", "--timeout=300s", "sepjob/on-gpu")
    pods = json.loads(system.kubectl("get", "pods", "-l", "stemyard.dev/separationjob=on-gpu", "-o", "json"))["items"]
    limits = {
        pod["metadata"]["labels"]["stemyard.dev/stage"]: pod["spec"]["containers"][0]["resources"]["limits"]
        for pod in pods
    }
    assert limits["separate"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits["fetch"]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"source": {"searchQuery": "a", "url": "https://example.com/a.mp3"}}, "exactly one"),
        ({"source": {}}, "exactly one"),
        ({"source": {"searchQuery": "x" * 501}}, "may not be more than 500"),
    ],
)
def test_the_api_server_refuses_what_is_wrong(system: System, spec: dict[str, object], complaint: str) -> None:
    manifest = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": "wrong"},
        "spec": spec,
    }
    refused = system.kubectl_error("apply", "-f", "-", stdin=json.dumps(manifest))
    assert complaint in refused


def test_a_changed_spec_is_refused(system: System, clip_job: dict[str, object]) -> None:
    name = f"sep-{clip_job['track_id']}"
    patch = json.dumps({"spec": {"model": "other"}})
    assert "cannot be changed" in system.kubectl_error("patch", "sepjob", name, "--type=merge", "-p", patch)
