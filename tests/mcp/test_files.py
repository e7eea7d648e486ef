"""Which files a tool may send."""

from pathlib import Path

import pytest

from stemyard_mcp.files import FileRefusedError, Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "songs").mkdir()
    for name in ("songs/a.mp3", "songs/b.flac", "songs/notes.txt", "outside.mp3", "id_rsa"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "songs/link.mp3").symlink_to(tmp_path / "outside.mp3")
    (tmp_path / "songs/key.mp3").symlink_to(tmp_path / "id_rsa")
    return tmp_path / "songs"


@pytest.mark.parametrize("name", ["a.mp3", "b.flac", "./a.mp3"])
def test_songs_of_the_folder_may(folder: Path, name: str) -> None:
    assert Files(True, folder).checked(name).parent == folder
    assert Files(True).checked(str(folder / name)).parent == folder


@pytest.mark.parametrize("name", ["../outside.mp3", "link.mp3", "/etc/hostname", "notes.txt"])
def test_others_may_not(folder: Path, name: str) -> None:
    with pytest.raises(FileRefusedError):
        Files(True, folder).checked(name)


@pytest.mark.parametrize("name", ["notes.txt", "../id_rsa", "key.mp3"])
def test_only_audio_and_video_leave_the_machine(folder: Path, name: str) -> None:
    with pytest.raises(FileRefusedError, match="audio or video"):
        Files(True).checked(str(folder / name))


def test_what_is_missing_is_said(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Files(True, folder).checked("none.mp3")


def test_none_may_by_default_over_http(folder: Path) -> None:
    with pytest.raises(FileRefusedError):
        Files(False).checked(str(folder / "a.mp3"))
