"""Reading a file while it is downloaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stemyard_contract.handover import StoredFile
from stemyard_separator.transfer.streamed_file import OnBytes, StreamedFile
from tests.support.operator_world import eventually

MEBIBYTE = 1 << 20
STORED = StoredFile(file="a", bytes=9 * MEBIBYTE, sha256="0" * 64)


class Sender:
    """Writes a file in blocks of 1 MiB and counts them."""

    def __init__(self, path: Path, count: int) -> None:
        self.sent, self._path, self._count = 0, path, count

    def download(self, on_bytes: OnBytes) -> StoredFile:
        with self._path.open("wb", buffering=0) as output:
            for number in range(self._count):
                output.write(bytes([number]) * MEBIBYTE)
                self.sent = number + 1
                on_bytes(self.sent * MEBIBYTE)
        return STORED


def test_it_is_read_in_order(tmp_path: Path) -> None:
    file = StreamedFile(tmp_path / "a", Sender(tmp_path / "a", 9).download)
    content = b"".join(iter(lambda: file.read(300_000), b""))
    assert content == b"".join(bytes([number]) * MEBIBYTE for number in range(9))
    assert file.result() == STORED


@pytest.mark.parametrize("request_rest", [StreamedFile.need_rest, StreamedFile.result])
def test_the_rest_waits_until_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_rest: Callable[[StreamedFile], object]
) -> None:
    monkeypatch.setattr("stemyard_separator.transfer.streamed_file._PAUSE_SECONDS", 60.0)
    sender = Sender(tmp_path / "a", 9)
    file = StreamedFile(tmp_path / "a", sender.download)
    eventually(lambda: sender.sent == 4)
    assert file.read(MEBIBYTE) == bytes(MEBIBYTE)
    assert sender.sent == 4

    request_rest(file)

    assert file.result() == STORED
    assert sender.sent == 9


def test_reading_everything_available_requests_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemyard_separator.transfer.streamed_file._PAUSE_SECONDS", 60.0)
    file = StreamedFile(tmp_path / "a", Sender(tmp_path / "a", 9).download)
    assert sum(len(file.read(MEBIBYTE)) for _ in range(9)) == 9 * MEBIBYTE


def test_the_pause_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemyard_separator.transfer.streamed_file._PAUSE_SECONDS", 0.01)
    sender = Sender(tmp_path / "a", 9)
    StreamedFile(tmp_path / "a", sender.download)
    eventually(lambda: sender.sent == 9)


def test_a_failure_reaches_the_reader(tmp_path: Path) -> None:
    def download(_: OnBytes) -> StoredFile:
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        StreamedFile(tmp_path / "a", download).read(1)
