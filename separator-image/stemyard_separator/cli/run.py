"""`python -m stemyard_separator run`: separates local files, without operator, desk and object store."""

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
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Final

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.handover import SAMPLE_RATE, MediaMetadata, peaks_file
from stemyard_contract.validation import printable
from stemyard_separator.audio.cover import read_cover
from stemyard_separator.audio.decode import DecodedAudio, decode
from stemyard_separator.audio.loudness import round_level
from stemyard_separator.audio.media import library_versions
from stemyard_separator.audio.render import Rendering
from stemyard_separator.audio.stems import FetchedAudio, Mix, RenderOptions, render_stems
from stemyard_separator.cli.arguments import PROGRAM, output_of, parse
from stemyard_separator.cli.inputs import as_file, refuse_what_is_no_file
from stemyard_separator.cli.progress_bar import ProgressBar, format_duration
from stemyard_separator.cli.targets import move_to_targets, target_files
from stemyard_separator.engines.protocol import SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.errors import StageError
from stemyard_separator.models.folder import file_sha256
from stemyard_separator.process import available_cores

_MAX_SECONDS: Final = 24 * 3600.0
_INTERRUPTED_EXIT_CODE: Final = 128 + signal.SIGINT
_FILE_ERROR_EXIT_CODE: Final = 1
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _Result:
    """The stems of one file and how long it took."""

    source: Path
    sha256: str | None
    """Of the source, for `--json`."""
    decoded: DecodedAudio
    rendering: Rendering
    files: dict[Stem, Path]
    seconds: dict[str, float]


def run_locally(arguments: Sequence[str], program: str = PROGRAM) -> int:
    """Separate the files on the command line; return the exit code of the first failure, or 0."""
    _print_names_unchanged()
    options = parse(arguments, program)
    _interrupt_on_signals()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        engine = _load(options)
        codes = [_process(options, engine, path) for path in options.files]
    except (StageError, OSError) as error:
        return _report_error(None, error)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; unfinished files were removed\n")
        return _INTERRUPTED_EXIT_CODE
    return next((code for code in codes if code), 0)


def _print_names_unchanged() -> None:
    """Write file names to stdout as their bytes, whatever the locale: they may be in any encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors=sys.getfilesystemencodeerrors())


def _interrupt_on_signals() -> None:
    """End as by Ctrl-C also when a terminal is closed, unless that is ignored (nohup): spools are gigabytes."""
    for number in _ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in _ENDING_SIGNALS:  # a terminal that is closed sends two, and the second would end the tidying up
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _load(options: Namespace) -> SeparationEngine:
    return load_engine(
        EngineOptions(
            model=options.model,
            folder=options.model_dir,
            threads=options.threads or available_cores(),
            stems=frozenset(options.stems),
            device=options.device,
            preset=options.preset,
            compiled=options.compile,
            residual=options.residual,
        )
    )


def _process(options: Namespace, engine: SeparationEngine, path: Path) -> int:
    """Separate one file and print the result; return its exit code."""
    try:
        result = _separate(options, engine, path)
    except Exception as error:  # noqa: BLE001 - one file must not end the others
        return _report_error(path, error)
    if not options.quiet:
        sys.stderr.write(printable(_summary(result)) + "\n")
    if options.json:
        sys.stdout.write(json.dumps(_to_json(result, options, engine)) + "\n")
    else:
        names = map(str, result.files.values())
        sys.stdout.writelines(f"{printable(name) if sys.stdout.isatty() else name}\n" for name in names)
    sys.stdout.flush()
    return 0


def _separate(options: Namespace, engine: SeparationEngine, path: Path) -> _Result:
    refuse_what_is_no_file(path)
    output = output_of(options)
    endings = [f"{stem}.{output.format}" for stem in options.stems]
    endings += [peaks_file(stem) for stem in options.stems] if options.peaks else []
    targets = target_files(path, options.out, endings, options.files, options.force)
    # in the output folder: source and spools take 50 MB a minute and more, for which /tmp may be too small
    with (
        _progress_bar(path, quiet=options.quiet) as bar,
        tempfile.TemporaryDirectory(dir=options.out, prefix=".stemyard-") as name,
    ):
        folder, start = Path(name), time.monotonic()
        file = as_file(path, folder)
        digest = file_sha256(file) if options.json else None
        decoded = decode(file, folder / "audio.flac", _MAX_SECONDS, partial(bar.update, "decoding"))
        middle = time.monotonic()
        render_options = RenderOptions(options.stems, output, options.model)
        with Mix(_fetched_audio(decoded, path.stem, read_cover(file))) as mix:
            rendering = render_stems(engine, mix, folder, render_options, partial(bar.update, "separating"))
        seconds = {"decode": middle - start, "separate": time.monotonic() - middle}
        written = [rendering.files[stem] for stem in options.stems]
        written += [rendering.peaks[stem] for stem in options.stems] if options.peaks else []
        move_to_targets(written, targets, options.force)
    files = dict(zip(options.stems, targets, strict=False))
    return _Result(path, digest, decoded, rendering, files, seconds)


@contextmanager
def _progress_bar(path: Path, *, quiet: bool) -> Iterator[ProgressBar]:
    bar = ProgressBar(printable(path.name), io.StringIO() if quiet else sys.stderr)
    try:
        yield bar
    finally:
        bar.clear()


def _fetched_audio(decoded: DecodedAudio, name: str, cover: bytes | None) -> FetchedAudio:
    measured = decoded.measured
    return FetchedAudio(
        flac=decoded.path,
        exponent=decoded.exponent,
        samples=measured.samples,
        peak=measured.peak,
        mean=measured.mean,
        standard_deviation=measured.standard_deviation,
        level=measured.level,
        media=MediaMetadata(title=decoded.title or name, artist=decoded.artist),
        tags=decoded.tags,
        cover=cover,
        source_rate=decoded.source_rate,
        is_mono=measured.is_mono,
    )


def _summary(result: _Result) -> str:
    length, elapsed = result.decoded.measured.samples / SAMPLE_RATE, sum(result.seconds.values())
    speed = f"{length / elapsed:.1f}x real time"
    damage = "".join(f"; {each}" for each in _damage(result.decoded))
    return f"{result.source.name}: {format_duration(length)} of audio in {format_duration(elapsed)}, {speed}{damage}"


def _damage(decoded: DecodedAudio) -> Iterator[str]:
    if decoded.invalid_samples:
        yield f"{decoded.invalid_samples} damaged sample(s) are silent"
    if decoded.is_cut:
        yield "the file is damaged and its end is missing"


def _to_json(result: _Result, options: Namespace, engine: SeparationEngine) -> dict[str, Any]:
    """Return everything needed to verify and reproduce a result."""
    measured = result.decoded.measured
    length = measured.samples / SAMPLE_RATE
    return {
        "source": {"file": str(result.source), "sha256": result.sha256, "audio_sha256": measured.sha256},
        "title": result.decoded.title,
        "artist": result.decoded.artist,
        "duration_seconds": round(length, 6),
        "samples": measured.samples,
        "invalid_samples": result.decoded.invalid_samples,
        "is_cut": result.decoded.is_cut,
        "stems": {stem: _stem_json(result, stem) for stem in result.files},
        "output": output_of(options).dump(),
        "engine": engine.name,
        "model": options.model,
        "model_digest": engine.digest,
        "device": engine.device,
        "parameters": engine.parameters,
        "gain_db": round(20 * math.log10(result.rendering.gain), 4),
        "real_time_factor": round(result.seconds["separate"] / length, 5),
        "timings": {step: round(seconds, 3) for step, seconds in result.seconds.items()},
        "versions": {"stemyard": version("stemyard"), **library_versions(), **engine.versions},
    }


def _stem_json(result: _Result, stem: Stem) -> dict[str, Any]:
    file, levels = result.files[stem], result.rendering.levels[stem]
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": file_sha256(file),
        "integrated_loudness": round_level(levels.integrated_loudness),
        "true_peak": round_level(levels.true_peak),
    }


def _report_error(path: Path | None, error: Exception) -> int:
    """Print an error; return its exit code."""
    sentence, code = _explain(path, error)
    # names of files may have control characters, which a terminal obeys
    sys.stderr.write(printable(f"{path}: {sentence}" if path else sentence) + "\n")
    return code


def _explain(path: Path | None, error: Exception) -> tuple[str, int]:
    if isinstance(error, StageError):
        return f"{error.message} ({error.code})", error.exit_code
    if not isinstance(error, OSError):
        failure = FAILURES[FailureCode.INTERNAL]
        return f"{failure.sentence} ({type(error).__name__}: {error})", failure.exit_code
    at = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
    return f"{error.strerror or error}{at}", _FILE_ERROR_EXIT_CODE
