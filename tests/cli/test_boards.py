import pytest

from stemyard_cli.boards import Board, LiveBoard, PlainBoard, QuietBoard, remaining, stage_of
from stemyard_client import Job


def job(phase: str, progress: float, **more: object) -> Job:
    return Job.model_validate({"status": "processing", "track_id": "t", "phase": phase, "progress": progress, **more})


def test_plain_lines_come_with_each_phase_and_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainBoard() as board:
        for phase, progress in (
            ("Queued", 0),
            ("Queued", 0),
            ("Separating", 10),
            ("Separating", 12),
            ("Separating", 60),
        ):
            board.show("song", job(phase, progress))
        board.end("song", "Saved")
    assert capsys.readouterr().err.splitlines() == [
        "song: Queued 0 %",
        "song: Separating 10 %",
        "song: Separating 60 %",
        "song: Saved",
    ]


@pytest.mark.parametrize("board", [PlainBoard(), QuietBoard(), LiveBoard()])
def test_a_failure_is_printed_once_and_in_full(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    with board:
        board.fail("song", "No. (NO)\nDo this.")
    written = capsys.readouterr().err
    assert written.count("song: No. (NO)\nDo this.\n") == 1
    assert written.count("Do this.") == 1


def test_the_place_and_the_remaining_time_are_shown() -> None:
    assert stage_of(job("Queued", 0, queue_position=3)) == "Queued, 3. in line"
    assert remaining(job("Separating", 50, eta_seconds=90)) == "1:30 left"
    assert remaining(job("Separating", 50, eta_seconds=90), seconds_since=100) == "0:00 left"
    assert remaining(job("Separating", 50)) == ""
