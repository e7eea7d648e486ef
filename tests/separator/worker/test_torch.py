"""A worker whose engine is demucs on torch, on the processor: what people run in production but for the GPU."""

from pathlib import Path

import pytest

from stemyard_contract.handover import Manifest
from stemyard_contract.leasing import WorkerAssignment
from tests.separator.worker.test_worker import ends, song, source, worker
from tests.support import separator_process as separator
from tests.support.desk_double import DeskDouble

pytest.importorskip("torch", reason="torch is not installed: workers with the demucs engine are NOT tested")

from tests.support.demucs_model import FOUR, SMALL, save_network

pytestmark = pytest.mark.filterwarnings("default")
__all__ = ["source"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    save_network(folder, "htdemucs", FOUR, 1, **SMALL)
    return {"STEMYARD_MODEL_DIR": str(folder), "STEMYARD_DEVICE": "cpu"}


def demucs(desk: DeskDouble) -> WorkerAssignment:
    return worker(desk).model_copy(update={"model": "htdemucs"})


def test_the_songs_of_a_worker_are_what_a_job_of_its_own_makes_of_them(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path, environment: dict[str, str]
) -> None:
    desk.songs = [song(desk, source, number).model_copy(update={"model": "htdemucs"}) for number in range(2)]
    ended = separator.run(demucs(desk), tmp_path / "worker", **environment)
    assert ended.exit_code == 0, ended.output
    assert ends(desk) == {"song-0": None, "song-1": None}
    assert [line["message"] for line in ended.lines()].count("model loaded") == 1

    desk.files["audio.flac"] = source["audio.flac"]
    assert separator.run(separator.assignment(desk, model="htdemucs"), tmp_path / "own", **environment).exit_code == 0
    for name in ("vocals.mp3", "instrumental.mp3", "vocals.peaks.json"):
        assert desk.files[f"song-0/{name}"] == desk.files[f"song-1/{name}"] == desk.files[name]
    manifest = Manifest.model_validate_json(desk.files["song-1/manifest.json"])
    assert (manifest.engine, manifest.device) == ("demucs", "cpu")
