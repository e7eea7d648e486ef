"""Fuzzes the decoder with mutated files: each ends soon, in bounded memory, with audio or an expected failure code.

STEMYARD_FUZZ_SECONDS sets the duration (default 60), STEMYARD_FUZZ_SEED the seed. A file that misbehaves is kept in
`tests/separator/corpus/` and decoded again by every later run.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.failures import FailureCode
from stemyard_separator.audio.decode import decode
from stemyard_separator.errors import SourceError
from tests.support.audio import CLIP, tone, write_encoded, write_float_wav, write_video, write_wav
from tests.support.films import Track, film
from tests.support.nasty_tags import encoded
from tests.support.rare_formats import DSD_RATE, dff, dsf, gsm, shorten

SECONDS = float(os.environ.get("STEMYARD_FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("STEMYARD_FUZZ_SEED", "20261123"))
CORPUS = Path(__file__).parents[1] / "corpus"
EXPECTED = {FailureCode.SOURCE_UNDECODABLE, FailureCode.SOURCE_TOO_SHORT, FailureCode.SOURCE_TOO_LONG}
MAX_SECONDS, TIMEOUT = 60.0, 20.0
MEMORY = 512 << 20
Random = np.random.Generator
OTHERS = {
    "voc": "pcm_s16le",
    "nut": "pcm_s16le",
    "ircam": "pcm_s16le",
    "wv": "wavpack",
    "tta": "tta",
    "adx": "adpcm_adx",
}
"""Muxer and codec of further seeds."""


def seeds(folder: Path) -> list[bytes]:
    """Return small valid files of many formats."""
    clip = CLIP.read_bytes()[:40_000]
    codecs = {
        "x.flac": "flac",
        "x.opus": "libopus",
        "x.m4a": "aac",
        "x.mka": "ac3",
        "x.aiff": "pcm_s16be",
    }
    paths = [write_encoded(folder / name, tone(0.3, 48_000), codec, rate=48_000) for name, codec in codecs.items()]
    paths += [write_wav(folder / "x.wav", tone(0.3)), write_float_wav(folder / "f.wav", tone(0.3))]
    paths.append(write_video(folder / "x.mp4", tone(0.5)))
    rare = [dsf(tone(0.02, DSD_RATE)), dff(tone(0.02, DSD_RATE)), gsm(50), shorten(paths[-3].read_bytes())]
    rare += [encoded(tone(0.3), container, codec) for container, codec in OTHERS.items()]
    rare.append(film("matroska", "flac", [Track(tone(0.5), hole=(0.1, 0.3))], pictures=0.5))
    return [clip, *(path.read_bytes() for path in paths), *rare]


def flip(content: bytearray, random: Random) -> bytearray:
    for place in random.integers(0, len(content), int(random.integers(1, 30))):
        content[place] ^= int(random.integers(1, 256))
    return content


def corrupt_header(content: bytearray, random: Random) -> bytearray:
    head = min(len(content), 200)
    for place in random.integers(0, head, int(random.integers(1, 12))):
        content[place] = int(random.choice([0, 1, 0x7F, 0x80, 0xFF]))
    return content


def cut(content: bytearray, random: Random) -> bytearray:
    return content[: int(random.integers(1, len(content)))]


def repeat(content: bytearray, random: Random) -> bytearray:
    start, end = sorted(int(each) for each in random.integers(0, len(content), 2))
    return content[:end] + content[start:end] * int(random.integers(1, 6)) + content[end:]


def drop(content: bytearray, random: Random) -> bytearray:
    start = int(random.integers(0, len(content)))
    return content[:start] + content[start + int(random.integers(1, 2000)) :]


MUTATIONS: list[Callable[[bytearray, Random], bytearray]] = [flip, corrupt_header, cut, repeat, drop]


def mutated(files: list[bytes], random: Random) -> bytes:
    content = bytearray(files[int(random.integers(len(files)))])
    for _ in range(int(random.integers(1, 4))):
        content = MUTATIONS[int(random.integers(len(MUTATIONS)))](content, random) or bytearray(b"\0")
    return bytes(content)


def result_of(path: Path, target: Path) -> str:
    """Return the result for a file: `audio`, a failure code, or the name of an unexpected exception."""
    try:
        decode(path, target, MAX_SECONDS, lambda _: None)
    except SourceError as error:
        return str(error.code)
    except Exception as error:  # noqa: BLE001 - the test looks for these
        return f"{type(error).__name__}: {error}"
    return "audio"


def serve(paths: "multiprocessing.SimpleQueue[str | None]", results: "multiprocessing.Queue[str]", target: str) -> None:
    """Decode paths from a queue, in a process that may crash or be killed."""
    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
    while (path := paths.get()) is not None:
        results.put(result_of(Path(path), Path(target)))


class Decoder:
    """A decoding process, restarted when it dies or takes too long."""

    def __init__(self, folder: Path) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._target = str(folder / "target.flac")
        self._start()

    def _start(self) -> None:
        self._paths, self._results = self._context.SimpleQueue(), self._context.Queue()
        arguments = (self._paths, self._results, self._target)
        self._process = self._context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()

    def decode(self, path: Path) -> str:
        self._paths.put(str(path))
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and self._process.is_alive():
            if not self._results.empty():
                return str(self._results.get())
            time.sleep(0.0005)
        if not self._results.empty():
            return str(self._results.get())
        ended = self._process.exitcode
        self.close()
        self._start()
        return f"ended with {ended}" if ended is not None else "took too long"

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

    def close(self) -> None:
        self._process.kill()
        self._process.join()


@pytest.mark.timeout(SECONDS + 300)
def test_mutated_files_are_decoded_or_refused(tmp_path: Path) -> None:
    random, decoder = np.random.default_rng(SEED), Decoder(tmp_path)
    files, counts, bad = seeds(tmp_path), dict[str, int](), list[str]()
    corpus = sorted(CORPUS.glob("*"))
    path, deadline = tmp_path / "mutated", time.monotonic() + SECONDS
    try:
        while corpus or time.monotonic() < deadline:
            content = corpus.pop().read_bytes() if corpus else mutated(files, random)
            path.write_bytes(content)
            result = decoder.decode(path)
            counts[result] = counts.get(result, 0) + 1
            if result != "audio" and result not in EXPECTED:
                bad.append(result)
                CORPUS.mkdir(exist_ok=True)
                (CORPUS / f"{SEED}-{sum(counts.values())}").write_bytes(content)
        assert decoder.peak_bytes() < MEMORY
    finally:
        decoder.close()
    print(counts)
    assert not bad
    assert counts.get("audio", 0) > 10
    assert counts.get("SOURCE_UNDECODABLE", 0) > 0
