"""How long a stage waits."""

import os
import time
from pathlib import Path

import pytest

from stemyard_separator.http import HttpError
from stemyard_separator.transfer.deadline import StageDeadline


def failing() -> None:
    raise HttpError("ConnectError")


def token(folder: Path, age: float) -> Path:
    """A token as the kubelet mounts it, renewed just now."""
    (folder / "..data").mkdir()
    (folder / "..data" / "token").write_text("token")
    link = folder / "token"
    link.symlink_to("..data/token")
    os.utime(link, (time.time() - age,) * 2, follow_symlinks=False)
    return link


def seconds_of(deadline: StageDeadline) -> float:
    started = time.monotonic()
    with pytest.raises(HttpError):
        deadline.retry("the desk", failing)
    return time.monotonic() - started


def test_time_before_the_process_counts(tmp_path: Path) -> None:
    """A pod's deadline runs while its image is pulled."""
    assert seconds_of(StageDeadline.of_pod(600, token(tmp_path, 584))) == pytest.approx(1, abs=0.3)


def test_short_deadlines_leave_time_to_work(tmp_path: Path) -> None:
    assert seconds_of(StageDeadline.of_pod(10, token(tmp_path, 8))) == pytest.approx(1, abs=0.3)


def test_a_first_attempt_is_made_after_the_deadline(tmp_path: Path) -> None:
    late = StageDeadline.of_pod(10, token(tmp_path, 60))
    assert late.retry("the desk", lambda: "links") == "links"
    assert seconds_of(late) < 0.1


def test_without_a_token_the_deadline_counts_from_now(tmp_path: Path) -> None:
    assert seconds_of(StageDeadline.of_pod(2, tmp_path / "none")) == pytest.approx(1.8, abs=0.3)


def test_other_errors_are_not_retried(tmp_path: Path) -> None:
    def refused() -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        StageDeadline.of_pod(600, tmp_path / "none").retry("the desk", refused)
