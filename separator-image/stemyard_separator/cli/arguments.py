"""Arguments of `python -m stemyard_separator run`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from stemyard_contract.findings import Stem
from stemyard_contract.models import MODELS
from stemyard_contract.output import (
    ALL_BIT_DEPTHS,
    BIT_DEPTHS,
    BITRATES,
    DEFAULT_BITRATE,
    AudioFormat,
    Channels,
    Output,
    SampleRate,
)
from stemyard_separator.engines.presets import DEFAULT_PRESET, PRESETS
from stemyard_separator.models.folder import default_model_folder

PROGRAM: Final = "python -m stemyard_separator run"
DEFAULT_STEMS: Final = (Stem.VOCALS, Stem.INSTRUMENTAL)
_ALL: Final = "all"
_EXAMPLES: Final = """examples:
  %(prog)s song.mp3 --out stems
  %(prog)s *.flac --out stems --format flac --bit-depth 16
  %(prog)s song.m4a --model htdemucs --stems all --json

Stems are named after their song: song.vocals.mp3, song.instrumental.mp3. Weights are read from the model folder, see
`stemyard-models prefetch`. Exit codes: 0 all files separated, 1 a file cannot be read or written, 2 invalid arguments,
130 interrupted, others as in the failure table (41: a file contains no decodable audio, 60: weights are missing)."""


def parse(arguments: Sequence[str], program: str = PROGRAM) -> argparse.Namespace:
    """Return the validated arguments; exit with code 2 if they are invalid. `program` is its name in messages."""
    parser = arguments_parser(program)
    options = parser.parse_intermixed_args(arguments)
    available = MODELS[options.model].stems
    requested = options.stems or DEFAULT_STEMS
    options.stems = sorted(available if _ALL in requested else map(Stem, requested))
    if missing := [stem for stem in options.stems if stem not in available]:
        parser.error(f"{options.model} does not give {', '.join(missing)}; it gives {', '.join(sorted(available))}")
    if options.bit_depth is not None and options.bit_depth not in BIT_DEPTHS.get(options.format, ()):
        supported = "; ".join(f"{name} {', '.join(map(str, depths))}" for name, depths in BIT_DEPTHS.items())
        parser.error(f"{options.format} has no bit depth {options.bit_depth}; supported are {supported}")
    if options.vbr is not None and options.format != "mp3":
        parser.error("--vbr is for mp3 only")
    if options.sample_rate is not None and options.format == "opus":
        parser.error("--sample-rate is not for opus, which has 48 kHz")
    if duplicate := _duplicate(options.files):
        parser.error(f"two files are called {duplicate} and so are their stems; separate them into two folders")
    return options


def output_of(options: argparse.Namespace) -> Output:
    """Return the output format of the stems."""
    return Output(
        format=options.format,
        bitrate=options.bitrate,
        bit_depth=options.bit_depth,
        vbr_quality=options.vbr,
        sample_rate=options.sample_rate,
        channels=options.channels,
    )


def _duplicate(files: Sequence[Path]) -> str | None:
    names = [path.stem for path in files]
    return next((name for name in names if names.count(name) > 1), None)


def arguments_parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """Return the parser that `parse` uses."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Separate audio files of any format on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for the stems (default: here)")
    parser.add_argument(
        "--stems", nargs="+", choices=[*map(str, Stem), _ALL], help="default: vocals and instrumental", metavar="STEM"
    )
    _add_model(parser)
    _add_output(parser)
    parser.add_argument("--json", action="store_true", help="print each result as a JSON object on one line")
    parser.add_argument("--peaks", action="store_true", help="write each stem's waveform for drawing next to it")
    parser.add_argument("--force", action="store_true", help="replace existing files (never one of the inputs)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", choices=tuple(MODELS), default="spleeter-2stems")
    group.add_argument("--model-dir", type=Path, default=default_model_folder(os.environ), metavar="DIR")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="cuda fails without a GPU")
    group.add_argument("--preset", choices=tuple(PRESETS), default=DEFAULT_PRESET, help="of demucs: speed or quality")
    group.add_argument("--threads", type=int, metavar="N", help="default: the available cores")
    group.add_argument(
        "--residual",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="all stems of demucs sum to the mix: `other` is what the others leave",
    )
    group.add_argument("--compile", action="store_true", help="compile the networks with torch first")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=get_args(AudioFormat), default="mp3")
    group.add_argument("--bitrate", type=int, choices=BITRATES, default=DEFAULT_BITRATE, help="of mp3, m4a and opus")
    group.add_argument("--bit-depth", type=int, choices=ALL_BIT_DEPTHS, help="of flac and wav; 32 is float, for wav")
    group.add_argument("--sample-rate", choices=get_args(SampleRate), help="default: 44100; not for opus")
    group.add_argument(
        "--channels", choices=get_args(Channels), help="source: mono stems of a mono source (default: stereo)"
    )
    group.add_argument("--vbr", type=int, choices=range(10), help="variable bit rate for mp3, 0 best to 9 smallest")
