"""Runs every input through the fetch stage's decoding and through `run`, and compares the sum of the stems."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.media.case import Case
from bench.media.reference import reference
from stemyard_separator.audio.decode import decode
from stemyard_separator.errors import StageError
from tests.support.audio import Audio, lag, read, si_sdr

_MAX_SECONDS = 3600.0
_MIN_SNR = 60.0
"""What 24-bit stems of a song reach; lossy decoders round to 16 bits at worst."""
_MAX_LEVEL = 0.05
_USAGE_ERROR = 2


@dataclass(frozen=True)
class Row:
    """The outcome of one input.

    Attributes:
        fetched: `ok` or the code of the fetch stage's decoding.
        separated: `ok`, or the code that `run` printed.
        samples: length of the stems, per channel.
        expected_samples: length as FFmpeg decodes the file; None if it refuses it.
        level: of the sum of the stems, in dB above FFmpeg's decoding.
        snr: of the sum of the stems against FFmpeg's decoding, in dB, without the difference in level.
    """

    case: Case
    fetched: str
    separated: str
    samples: int | None = None
    expected_samples: int | None = None
    level: float | None = None
    snr: float | None = None

    @property
    def differs(self) -> bool:
        """Whether length, level or samples are not FFmpeg's."""
        if self.samples != self.expected_samples:
            return self.samples is not None
        return (self.snr is not None and self.snr < _MIN_SNR) or abs(self.level or 0.0) > _MAX_LEVEL

    @property
    def verdict(self) -> str:
        if {self.fetched, self.separated} != {self.case.expected}:
            return f"short: {self.case.expected} expected"
        if not self.differs:
            return "ok"
        return f"ok: {self.case.reason}" if self.case.reason else "short: differs without a reason"


def write_inputs(cases: Iterable[Case], folder: Path) -> None:
    folder.mkdir()
    for case in cases:
        (folder / case.name).write_bytes(case.make())


def compare(cases: list[Case], folder: Path, model_folder: Path) -> Iterator[Row]:
    """Yield the outcomes, in order."""
    inputs, out = folder / "inputs", folder / "out"
    write_inputs(cases, inputs)
    results, errors = _run([inputs / case.name for case in cases], out, model_folder)
    for case in cases:
        path = inputs / case.name
        fetched = _decoded(path, folder / "audio.flac")
        if (result := results.get(str(path))) is None:
            separated = next((line.split("(")[-1].strip(")") for line in errors if line.startswith(f"{path}:")), "none")
            yield Row(case, fetched, separated)
        else:
            yield _compared(case, fetched, result, reference(path))


def _run(files: list[Path], out: Path, model_folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Separate all files in one process; return the JSON of the results by file, and the lines of errors."""
    command = [sys.executable, "-m", "stemyard_separator", "run", "--format", "flac", "--json", "--out", str(out)]
    done = subprocess.run(
        [*command, "--", *map(str, files)],
        capture_output=True,
        env={**os.environ, "STEMYARD_MODEL_DIR": str(model_folder)},
        check=False,
    )
    if done.returncode == _USAGE_ERROR:
        sys.exit(os.fsdecode(done.stderr))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["source"]["file"]: line for line in lines}, os.fsdecode(done.stderr).splitlines()


def _decoded(path: Path, target: Path) -> str:
    try:
        decode(path, target, _MAX_SECONDS, lambda _: None)
    except StageError as error:
        return str(error.code)
    return "ok"


def _compared(case: Case, fetched: str, result: dict[str, Any], expected: Audio | None) -> Row:
    total = sum(read(Path(stem["file"])) for stem in result["stems"].values()) / 10 ** (result["gain_db"] / 20)
    if expected is None:
        return Row(case, fetched, "ok", total.shape[1])
    level, snr = _difference(*_aligned(np.nan_to_num(expected, posinf=0, neginf=0), total))
    return Row(case, fetched, "ok", total.shape[1], expected.shape[1], level, snr)


def _aligned(expected: Audio, total: Audio) -> tuple[Audio, Audio]:
    """Return what both contain: silence before the sound, and of a longer one the end, are left out."""
    delay = max(0, lag(expected, total)) if expected.shape[1] < total.shape[1] else 0
    length = min(total.shape[1] - delay, expected.shape[1])
    return expected[:, :length], total[:, delay : delay + length]


def _difference(expected: Audio, total: Audio) -> tuple[float | None, float | None]:
    """Return level and SNR; None for silence."""
    if not expected.any() or not total.any():
        return None, None
    with np.errstate(divide="ignore"):
        factor = np.sum(expected * total) / np.sum(expected**2)
        return float(20 * np.log10(abs(factor))), min(si_sdr(expected, total), 200.0)
