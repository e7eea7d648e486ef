"""Downloads from a server that wishes its user ill: nothing but stems, under names of stems, in the folder."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stemyard_client import Client, TransferError
from tests.support.http_server import Exchange, HttpServer

STEM = b"ID3 and so on"


@pytest.fixture
def answers() -> dict[str, Any]:
    """The job's fields that the server answers with, beside the usual ones."""
    return {}


@pytest.fixture
def client(answers: dict[str, Any]) -> Iterator[Client]:
    def route(exchange: Exchange) -> None:
        if exchange.route_path.startswith("/job/"):
            body = {"status": "completed", "track_id": "t1", "title": "Song", **answers}
            body["result"] = {name: server.url + path for name, path in body["result"].items()}
            exchange.answer(200, json.dumps(body).encode())
        else:
            exchange.answer(200, STEM, **({"ETag": tag} if (tag := answers.get("tag")) else {}))

    with HttpServer(route) as server, Client(server.url, "key") as opened:
        yield opened


@pytest.fixture
def download(client: Client, tmp_path: Path) -> Callable[[], list[str]]:
    """Download to a folder; return the paths of all files below its parent, relative to the folder."""

    def run() -> list[str]:
        try:
            client.download("t1", tmp_path / "stems")
        finally:
            found = [file for file in tmp_path.rglob("*") if file.is_file()]
        return [str(file.relative_to(tmp_path / "stems")) for file in found]

    return run


@pytest.mark.parametrize(
    ("name", "path", "more", "file"),
    [
        ("vocals_url", "/o/v.mp3", {}, "Song (Vocals).mp3"),
        ("vocals_url", "/o/v.mp3", {"title": "../../.bashrc\x1b[2J"}, "bashrc [2J (Vocals).mp3"),
        ("vocals_url", "/o/v.mp3", {"title": None, "track_id": "../../x"}, "x (Vocals).mp3"),
        # stems of a later version
        ("lead-vocals_url", "/o/v.opus", {}, "Song (Lead-Vocals).opus"),
        ("config_url", "/o/v.js", {"title": None, "track_id": "webpack"}, "webpack (Config).js"),
        ("tmux_url", "/o/v.conf", {"title": None, "track_id": ""}, "track (Tmux).conf"),
    ],
)
def test_a_file_is_called_after_song_and_stem(
    download: Callable[[], list[str]], answers: dict[str, Any], name: str, path: str, more: dict[str, Any], file: str
) -> None:
    answers.update(more, result={name: path})
    assert download() == [file]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../x_url", "/o/v.mp3"),
        ("..\\x_url", "/o/v.mp3"),
        ("a\x1b]0;b\x07_url", "/o/v.mp3"),
        ("\0_url", "/o/v.mp3"),
        ("_url", "/o/v.mp3"),
        ("x" * 33 + "_url", "/o/v.mp3"),
        ("vocals_url", "/o/v.mp3/../../../x"),
        ("vocals_url", "/o/v./a/b/c"),
        ("vocals_url", "/o/v.%2e%2e%2fx"),
        ("vocals_url", "/o/v." + "a" * 300),
        ("vocals_url", "/o/v."),
    ],
)
def test_a_name_that_is_none_of_a_stem_is_refused(
    download: Callable[[], list[str]], answers: dict[str, Any], tmp_path: Path, name: str, path: str
) -> None:
    answers["result"] = {name: path}
    with pytest.raises(TransferError, match="names a stem"):
        download()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_that_appears_during_a_download_is_not_replaced(
    client: Client, answers: dict[str, Any], tmp_path: Path, dangling: bool
) -> None:
    answers["result"] = {"vocals_url": "/o/v.mp3"}
    other = tmp_path / "Song (Vocals).mp3"

    def appear(_done: int, _total: int) -> None:
        if not other.is_symlink() and not other.exists():
            other.symlink_to(tmp_path / "nothing") if dangling else other.write_bytes(b"mine")

    with pytest.raises(TransferError, match="exists and is another file"):
        client.download("t1", tmp_path, on_bytes=appear)
    assert other.is_symlink() if dangling else other.read_bytes() == b"mine"
    client.download("t1", tmp_path, overwrite=True)
    assert other.read_bytes() == STEM
    assert not other.is_symlink()


@pytest.mark.parametrize("tag", ["", f'"{hashlib.md5(STEM).hexdigest()}"', '"of-another-kind-2"'])
def test_a_file_of_the_same_size_is_compared(client: Client, answers: dict[str, Any], tmp_path: Path, tag: str) -> None:
    """Two separations of a song have files of one name and, at a constant bit rate, of one size."""
    answers.update(result={"vocals_url": "/o/v.mp3"}, tag=tag)
    there = tmp_path / "Song (Vocals).mp3"
    there.write_bytes(STEM[::-1])
    with pytest.raises(TransferError, match="exists and is another file"):
        client.download("t1", tmp_path)
    assert there.read_bytes() == STEM[::-1]
    there.write_bytes(STEM)
    sent: list[int] = []
    client.download("t1", tmp_path, on_bytes=lambda done, _: sent.append(done))
    assert there.read_bytes() == STEM
    assert not sent or len(tag) != 34
