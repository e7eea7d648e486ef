"""`python -m stemyard_separator run`: separates files on this machine, with no operator, desk or store around."""

import errno
import io
import json
import math
import signal
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Final

from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, MediaMetadata, peaks_file
from stemyard_separator.audio.decode import DecodedAudio, decode
from stemyard_separator.audio.loudness import round_level
from stemyard_separator.audio.media import library_versions
from stemyard_separator.audio.render import Rendering
from stemyard_separator.audio.stems import FetchedAudio, RenderOptions, render_stems
from stemyard_separator.cli.arguments import output_of, parse
from stemyard_separator.cli.progress_bar import Bar, clock
from stemyard_separator.engines.protocol import Engine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.errors import StageError
from stemyard_separator.models.folder import file_sha256
from stemyard_separator.process import granted_cores

_LONGEST_SECONDS: Final = 24 * 3600.0
_STOPPED_EXIT_CODE: Final = 128 + signal.SIGINT
_UNREADABLE_EXIT_CODE: Final = 1


@dataclass(frozen=True, slots=True)
class _Separated:
    """What became of one file."""

    source: Path
    decoded: DecodedAudio
    rendering: Rendering
    files: dict[Stem, Path]
    seconds: dict[str, float]


def run_locally(arguments: Sequence[str]) -> int:
    """Separate the files that the command line names; return the exit code, of the first failure if there are some."""
    given = parse(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        engine = _load(given)
        codes = [_separate_one(given, engine, path) for path in given.files]
    except (StageError, OSError) as error:
        return _complain(None, error)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; nothing unfinished is left behind\n")
        return _STOPPED_EXIT_CODE
    return next((code for code in codes if code), 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _load(given: Namespace) -> Engine:
    threads = given.threads or granted_cores()
    stems = frozenset(given.stems)
    return load_engine(
        EngineOptions(given.model, given.model_dir, threads, stems, given.device, given.preset, given.compile)
    )


def _separate_one(given: Namespace, engine: Engine, path: Path) -> int:
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder; name the files in it", str(path))
        done = _separated(given, engine, path)
    except (StageError, OSError) as error:
        return _complain(path, error)
    if not given.quiet:
        sys.stderr.write(_summary(done) + "\n")
    if given.json:
        sys.stdout.write(json.dumps(_told(done, given, engine)) + "\n")
    else:
        sys.stdout.writelines(f"{file}\n" for file in done.files.values())
    sys.stdout.flush()
    return 0


def _separated(given: Namespace, engine: Engine, path: Path) -> _Separated:
    # beside the result: stems are spooled as floats, 40 MB a minute, which a small /tmp may not hold
    with (
        _shown(path, quiet=given.quiet) as bar,
        tempfile.TemporaryDirectory(dir=given.out, prefix=".stemyard-") as name,
    ):
        folder, began = Path(name), time.monotonic()
        decoded = decode(path, folder / "audio.flac", _LONGEST_SECONDS, lambda done: bar.update("decoding", done))
        middle = time.monotonic()
        wanted = RenderOptions(given.stems, output_of(given), given.model)
        rendering = render_stems(
            engine, _fetched(decoded, path), folder, wanted, lambda done: bar.update("separating", done)
        )
        seconds = {"decode": middle - began, "separate": time.monotonic() - middle}
        files = {stem: _kept(file, given.out / f"{path.stem}.{file.name}") for stem, file in rendering.files.items()}
        if given.peaks:
            for stem, file in rendering.peaks.items():
                _kept(file, given.out / f"{path.stem}.{peaks_file(stem)}")
    return _Separated(path, decoded, rendering, files, seconds)


@contextmanager
def _shown(path: Path, *, quiet: bool) -> Iterator[Bar]:
    bar = Bar(path.name, io.StringIO() if quiet else sys.stderr)
    try:
        yield bar
    finally:
        bar.clear()


def _fetched(decoded: DecodedAudio, path: Path) -> FetchedAudio:
    measured = decoded.measured
    return FetchedAudio(
        flac=decoded.path,
        exponent=decoded.exponent,
        samples=measured.samples,
        peak=measured.peak,
        mean=measured.mean,
        standard_deviation=measured.standard_deviation,
        media=MediaMetadata(title=decoded.title or path.stem, artist=decoded.artist),
    )


def _kept(file: Path, target: Path) -> Path:
    return file.rename(target)


def _summary(done: _Separated) -> str:
    length, spent = done.decoded.measured.samples / SAMPLE_RATE, sum(done.seconds.values())
    return f"{done.source.name}: {clock(length)} of audio in {clock(spent)}, {length / spent:.1f}x real time"


def _told(done: _Separated, given: Namespace, engine: Engine) -> dict[str, Any]:
    """Return all that is needed to check a result and to make it again."""
    measured = done.decoded.measured
    length, output = measured.samples / SAMPLE_RATE, output_of(given)
    return {
        "source": {"file": str(done.source), "sha256": file_sha256(done.source), "audio_sha256": measured.sha256},
        "title": done.decoded.title,
        "artist": done.decoded.artist,
        "duration_seconds": round(length, 6),
        "samples": measured.samples,
        "stems": {stem: _stem(done, stem) for stem in done.files},
        "output": output.dump(),
        "engine": engine.name,
        "model": given.model,
        "model_digest": engine.digest,
        "device": engine.device,
        "parameters": engine.parameters,
        "gain_db": round(20 * math.log10(done.rendering.gain), 4),
        "real_time_factor": round(done.seconds["separate"] / length, 5),
        "timings": {step: round(seconds, 3) for step, seconds in done.seconds.items()},
        "versions": {"stemyard": version("stemyard"), **library_versions(), **engine.versions},
    }


def _stem(done: _Separated, stem: Stem) -> dict[str, Any]:
    file, levels = done.files[stem], done.rendering.levels[stem]
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": file_sha256(file),
        "integrated_loudness": round_level(levels.integrated_loudness),
        "true_peak": round_level(levels.true_peak),
    }


def _complain(path: Path | None, error: StageError | OSError) -> int:
    prefix = f"{path}: " if path else ""
    if isinstance(error, StageError):
        sys.stderr.write(f"{prefix}{error.message} ({error.code})\n")
        return error.exit_code
    at = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
    sys.stderr.write(f"{prefix}{error.strerror or error}{at}\n")
    return _UNREADABLE_EXIT_CODE
