"""A file that is read while it comes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stemyard_contract.handover import StoredFile
from stemyard_separator.transfer.streamed_file import StreamedFile, Tell
from tests.support.operator_world import eventually

MEBIBYTE = 1 << 20
STORED = StoredFile(file="a", bytes=9 * MEBIBYTE, sha256="0" * 64)


class Sender:
    """Writes a mebibyte at a time, and counts them."""

    def __init__(self, path: Path, count: int) -> None:
        self.sent, self._path, self._count = 0, path, count

    def bring(self, tell: Tell) -> StoredFile:
        with self._path.open("wb", buffering=0) as file:
            for number in range(self._count):
                file.write(bytes([number]) * MEBIBYTE)
                self.sent = number + 1
                tell(self.sent * MEBIBYTE)
        return STORED


def test_it_is_read_in_order_to_its_end(tmp_path: Path) -> None:
    arrival = StreamedFile(tmp_path / "a", Sender(tmp_path / "a", 9).bring)
    content = b"".join(iter(lambda: arrival.read(300_000), b""))
    assert content == b"".join(bytes([number]) * MEBIBYTE for number in range(9))
    assert arrival.result() == STORED


@pytest.mark.parametrize("wanted", [StreamedFile.want_rest, StreamedFile.result])
def test_the_rest_waits_until_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Callable[[StreamedFile], object]
) -> None:
    monkeypatch.setattr("stemyard_separator.transfer.streamed_file._PAUSE_SECONDS", 60.0)
    sender = Sender(tmp_path / "a", 9)
    arrival = StreamedFile(tmp_path / "a", sender.bring)
    eventually(lambda: sender.sent == 4)
    assert arrival.read(MEBIBYTE) == bytes(MEBIBYTE)
    assert sender.sent == 4

    wanted(arrival)

    assert arrival.result() == STORED
    assert sender.sent == 9


def test_whoever_has_read_all_that_is_here_wants_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemyard_separator.transfer.streamed_file._PAUSE_SECONDS", 60.0)
    arrival = StreamedFile(tmp_path / "a", Sender(tmp_path / "a", 9).bring)
    assert sum(len(arrival.read(MEBIBYTE)) for _ in range(9)) == 9 * MEBIBYTE


def test_nobody_waits_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemyard_separator.transfer.streamed_file._PAUSE_SECONDS", 0.01)
    sender = Sender(tmp_path / "a", 9)
    StreamedFile(tmp_path / "a", sender.bring)
    eventually(lambda: sender.sent == 9)


def test_a_failure_reaches_whoever_reads(tmp_path: Path) -> None:
    def bring(_: Tell) -> StoredFile:
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        StreamedFile(tmp_path / "a", bring).read(1)
