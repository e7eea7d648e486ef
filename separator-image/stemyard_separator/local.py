"""`python -m stemyard_separator run`: separates a file on this machine, with no operator, desk or store around."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stemyard_contract.handover import MediaMetadata
from stemyard_contract.separationjob import Output, Stem
from stemyard_separator.cores import granted_cores
from stemyard_separator.decode import decode
from stemyard_separator.engines.presets import DEFAULT_PRESET, PRESETS
from stemyard_separator.engines.registry import Loading, load_engine
from stemyard_separator.errors import StageError
from stemyard_separator.track import FetchedAudio, Wanted, render_stems

_LONGEST_SECONDS = 24 * 3600.0
DEFAULT_STEMS = (Stem.VOCALS, Stem.INSTRUMENTAL)


def run_locally(arguments: Sequence[str]) -> int:
    """Separate the file that the command line names; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        _separate(given)
    except (StageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, StageError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stemyard_separator run", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the stems")
    parser.add_argument("--model", default="spleeter-2stems")
    parser.add_argument("--model-dir", type=Path, default=Path(os.environ.get("STEMYARD_MODEL_DIR", "/models")))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--preset", choices=tuple(PRESETS), default=DEFAULT_PRESET)
    parser.add_argument("--stems", type=Stem, nargs="+", choices=list(Stem), help="by default vocals and instrumental")
    parser.add_argument("--format", choices=("mp3", "flac", "wav", "m4a", "opus"), default="mp3")
    parser.add_argument("--bitrate", type=int, choices=(128, 192, 256, 320), default=320, help="of mp3, m4a and opus")
    parser.add_argument("--bit-depth", type=int, choices=(16, 24, 32), help="of flac and wav; 32 is float, for wav")
    parser.add_argument("--vbr", type=int, choices=range(10), help="mp3 of variable bit rate, 0 best to 9 smallest")
    return parser


def _output(given: argparse.Namespace) -> Output:
    return Output(format=given.format, bitrate=given.bitrate, bit_depth=given.bit_depth, vbr_quality=given.vbr)


def _separate(given: argparse.Namespace) -> None:
    stems = sorted(given.stems or DEFAULT_STEMS)
    engine = load_engine(
        Loading(given.model, given.model_dir, granted_cores(), frozenset(stems), given.device, given.preset)
    )
    given.out.mkdir(parents=True, exist_ok=True)
    # beside the result: stems are spooled as floats, 40 MB a minute, which a small /tmp may not hold
    with tempfile.TemporaryDirectory(dir=given.out) as folder:
        decoded = decode(given.file, Path(folder, "audio.flac"), _LONGEST_SECONDS, lambda _: None)
        measured = decoded.measured
        audio = FetchedAudio(
            flac=decoded.path,
            exponent=decoded.exponent,
            samples=measured.samples,
            peak=measured.peak,
            mean=measured.mean,
            standard_deviation=measured.standard_deviation,
            media=MediaMetadata(title=decoded.title or given.file.stem, artist=decoded.artist),
        )
        wanted = Wanted(stems, _output(given), given.model)
        rendering = render_stems(engine, audio, Path(folder), wanted, _show)
        for path in rendering.files.values():
            target = path.rename(given.out / path.name)
            sys.stdout.write(f"{target}\n")


def _show(done: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done:4.0%}" + ("\n" if done >= 1 else ""))
