"""What a stage does while the desk or the object store is away."""

import base64
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Manifest
from stemyard_contract.separationjob import Source
from tests.support import separator_process as separator
from tests.support.audio import CLIP
from tests.support.desk_double import DeskDouble, Fault

OUTAGE_SECONDS = 24.0
"""Longer than six attempts with their pauses take, jitter included."""


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def jwt(expires_in: float) -> str:
    claims = json.dumps({"aud": ["stemyard-desk"], "exp": int(time.time() + expires_in)})
    return f"eyJhbGciOiJSUzI1NiJ9.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


def test_long_outages_of_desk_and_store_delay_the_stage(upload: Source, tmp_path: Path) -> None:
    with DeskDouble() as desk, DeskDouble() as store:
        desk.faults, store.faults = [Fault("/v1/links", 503)], [Fault("/store/audio.flac", 503)]
        processes = []
        for away in (desk, store):
            away.files["input"] = CLIP.read_bytes()
            folder = tmp_path / str(id(away))
            processes.append((separator.start(separator.assignment(away, upload), folder), folder))
        wait_until(lambda: desk.faults[0].times < -1 and store.faults[0].times < -1)
        time.sleep(OUTAGE_SECONDS)
        desk.faults, store.faults = [], []
        for process, folder in processes:
            output, _ = process.communicate(timeout=60)
            assert separator.ended(process, output, folder).exit_code == 0, output
        assert desk.order == store.order == ["audio.flac", "source.json"]


def test_the_wait_ends_before_the_pods_deadline(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.faults = [Fault("/v1/links", 503)]
    started = time.monotonic()
    ended = separator.run(separator.assignment(desk, upload, deadline_seconds=10), tmp_path)
    assert time.monotonic() - started > 8
    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.DESK_UNREACHABLE
    assert ended.exit_code == FAILURES[FailureCode.DESK_UNREACHABLE].exit_code


def test_sigterm_ends_the_wait(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    for path in ("/v1/links", "/store/audio.flac"):
        desk.files["input"], desk.faults = CLIP.read_bytes(), [Fault(path, 503)]
        process = separator.start(separator.assignment(desk, upload), tmp_path / path[4:])
        wait_until(lambda: desk.faults[0].times < -3)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        assert separator.ended(process, output, tmp_path / path[4:]).exit_code == 143


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_refusal_ends_the_stage_at_once(desk: DeskDouble, upload: Source, tmp_path: Path, status: int) -> None:
    desk.faults = [Fault("/v1/links", status)]
    ended = separator.run(separator.assignment(desk, upload), tmp_path)
    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.LINK_REFUSED
    assert desk.faults[0].times == -2, "one request"


def test_an_expired_token_is_waited_for(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    """The kubelet cannot renew tokens while the control plane is away."""
    desk.files["input"], desk.token = CLIP.read_bytes(), jwt(3600)
    process = separator.start(separator.assignment(desk, upload), tmp_path, token=jwt(-60))
    time.sleep(4)
    assert process.poll() is None
    (tmp_path / "token").write_text(desk.token)
    output, _ = process.communicate(timeout=60)
    assert separator.ended(process, output, tmp_path).exit_code == 0, output


def test_a_valid_token_that_is_not_accepted_is_a_refusal(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    ended = separator.run(separator.assignment(desk, upload), tmp_path, token=jwt(3600))
    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.LINK_REFUSED


def test_expired_links_are_replaced(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"], desk.expired_links = CLIP.read_bytes(), 2
    ended = separator.run(separator.assignment(desk, upload), tmp_path)
    assert ended.exit_code == 0, ended.output
    assert desk.order == ["audio.flac", "source.json"]


def test_links_that_are_always_refused_end_the_stage(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"], desk.faults = CLIP.read_bytes(), [Fault("/store/audio.flac", 403)]
    ended = separator.run(separator.assignment(desk, upload), tmp_path)
    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.STORE_UNREACHABLE
    assert desk.faults[0].times == -7, "with six links"


def test_the_desk_may_be_away_once_links_are_requested(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    """Each stage asks once for all it reads and once for all it writes."""
    desk.files["input"] = CLIP.read_bytes()
    assert separator.run(separator.assignment(desk, upload), tmp_path / "fetch").exit_code == 0
    assert desk.asked == [["input"], ["audio.flac", "source.json"]]
    desk.asked = []
    ended = separator.run(separator.assignment(desk), tmp_path / "separate")
    assert ended.exit_code == 0, ended.output
    written = {"instrumental.mp3", "instrumental.peaks.json", "manifest.json", "vocals.mp3", "vocals.peaks.json"}
    assert desk.asked[0] == ["source.json", "audio.flac"]
    assert [set(files) for files in desk.asked[1:]] == [written]
    assert desk.order[-1] == "manifest.json"
    manifest = Manifest.model_validate_json(desk.files["manifest.json"])
    assert manifest.timings["upload"] > 0
    assert ended.outcome is not None
    assert ended.outcome.mark is not None
    assert ended.outcome.mark.sha256 == desk.sha256("manifest.json")


def test_finished_work_survives_an_outage_between_separating_and_publishing(
    desk: DeskDouble, upload: Source, tmp_path: Path
) -> None:
    desk.files["input"] = CLIP.read_bytes()
    assert separator.run(separator.assignment(desk, upload), tmp_path / "fetch").exit_code == 0
    process = separator.start(separator.assignment(desk), tmp_path / "separate")
    wait_until(lambda: len(desk.asked) == 3)
    desk.faults = [Fault("/v1/links", 503)]
    wait_until(lambda: desk.faults[0].times < -3, 60)
    assert not {"vocals.mp3", "manifest.json"} & desk.files.keys()
    desk.faults = []
    output, _ = process.communicate(timeout=60)
    assert separator.ended(process, output, tmp_path / "separate").exit_code == 0, output
    assert "manifest.json" in desk.files
