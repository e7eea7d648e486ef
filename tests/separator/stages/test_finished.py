"""A stage says at the desk that its commit mark is written; whether anybody hears it does not matter to the stage."""

from pathlib import Path

import pytest

from stemyard_contract.handover import DESK_FINISHED_PATH, WorkStage
from stemyard_contract.separationjob import Source
from tests.support import separator_process as separator
from tests.support.audio import CLIP
from tests.support.desk_double import DeskDouble, Fault

ATTEMPTS = 3


def fetch(desk: DeskDouble, upload: Source, folder: Path) -> separator.Ended:
    desk.files["input"] = CLIP.read_bytes()
    return separator.run(separator.assignment(desk, upload), folder)


def test_each_stage_says_once_that_its_mark_is_written(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    ends = [fetch(desk, upload, tmp_path / "fetch"), separator.run(separator.assignment(desk), tmp_path / "separate")]
    assert [ended.exit_code for ended in ends] == [0, 0]
    assert [said.stage for said in desk.finished] == list(WorkStage)
    assert [said.mark for said in desk.finished] == [ended.outcome.mark for ended in ends if ended.outcome]
    assert desk.finished_after == ["source.json", "manifest.json"]


@pytest.mark.parametrize("status", [404, 405, 403, 422])
def test_an_operator_that_does_not_take_it_is_asked_once(
    desk: DeskDouble, upload: Source, tmp_path: Path, status: int
) -> None:
    fault = Fault(DESK_FINISHED_PATH, status)
    desk.faults = [fault]
    ended = fetch(desk, upload, tmp_path)
    assert (ended.exit_code, fault.times, desk.finished) == (0, -2, [])
    assert ended.outcome is not None
    assert ended.outcome.mark is not None


def test_a_standby_is_followed_by_another_attempt(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.faults = [Fault(DESK_FINISHED_PATH, 503, times=ATTEMPTS - 1)]
    assert fetch(desk, upload, tmp_path).exit_code == 0
    assert len(desk.finished) == 1


def test_no_operator_answers_and_the_stage_succeeds_soon(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fault = Fault(DESK_FINISHED_PATH, 503)
    desk.faults = [fault]
    ended = fetch(desk, upload, tmp_path)
    assert (ended.exit_code, fault.times) == (0, -1 - ATTEMPTS)
    assert [line["reason"] for line in ended.lines() if "end of the stage not reported" in line["message"]] == [
        "HTTP 503"
    ]


def test_a_failed_stage_says_nothing(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"] = b"not audio"
    assert separator.run(separator.assignment(desk, upload), tmp_path).exit_code != 0
    assert desk.finished == []
