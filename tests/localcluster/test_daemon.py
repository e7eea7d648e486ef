"""Programs that outlive the command that starts them; with real processes."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.daemon import Daemon, processes_of, start_time, terminate
from localcluster.errors import NotReadyError

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("sleeper", SLEEP, tmp_path)
    yield daemon
    daemon.stop(grace=0.2)


def test_starting_twice_starts_once(sleeper: Daemon) -> None:
    assert sleeper.start() == sleeper.start() == sleeper.pid()


def test_stopping_ends_the_process_and_forgets_it(sleeper: Daemon) -> None:
    pid = sleeper.start()
    sleeper.stop()
    assert start_time(pid) is None
    assert sleeper.pid() is None
    sleeper.stop()


def test_a_pid_that_now_belongs_to_another_program_is_not_ours(sleeper: Daemon) -> None:
    sleeper.pid_file.parent.mkdir(parents=True)
    sleeper.pid_file.write_text(f"{os.getpid()} 1\n")
    assert sleeper.pid() is None
    sleeper.stop()
    assert start_time(os.getpid()) is not None


@pytest.mark.parametrize("content", ["", "garbage", "1 2 3", "x y"])
def test_a_damaged_pid_file_counts_as_not_running(sleeper: Daemon, content: str) -> None:
    sleeper.pid_file.parent.mkdir(parents=True)
    sleeper.pid_file.write_text(content)
    assert sleeper.pid() is None


def test_a_process_without_its_pid_file_is_found_by_its_mark(sleeper: Daemon, tmp_path: Path) -> None:
    pid = sleeper.start()
    sleeper.pid_file.unlink()
    assert processes_of(tmp_path) == [pid]
    assert processes_of(tmp_path.parent) == [pid], "a mark below the folder counts"
    assert processes_of(tmp_path / "other") == []
    terminate([pid], grace=1.0)
    assert processes_of(tmp_path) == []


def test_one_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    daemon = Daemon("stubborn", STUBBORN, tmp_path)
    pid = daemon.start()
    while not daemon.log.read_bytes():
        daemon.check_running()
    daemon.stop(grace=0.1)
    assert start_time(pid) is None


def test_one_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    daemon = Daemon("brief", (sys.executable, "-c", "raise SystemExit('no such flag')"), tmp_path)
    daemon.start()
    while daemon.pid() is not None:
        pass
    with pytest.raises(NotReadyError, match="no such flag"):
        daemon.check_running()
