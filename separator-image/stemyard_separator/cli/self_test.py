"""`python -m stemyard_separator --self-test`: checks every library and encoder of this environment, offline."""

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

import numpy as np

from stemyard_contract.handover import SAMPLE_RATE
from stemyard_contract.output import AudioFormat, Output
from stemyard_separator.audio.decode import decode
from stemyard_separator.audio.formats import encoding_for
from stemyard_separator.audio.media import StemWriter, declared_samples, library_versions, stored_codec

_CODECS: Final = MappingProxyType[AudioFormat, str](
    {"mp3": "mp3", "flac": "flac", "wav": "pcm_s24le", "m4a": "aac", "opus": "opus"}
)
"""Codec of each format, as FFmpeg names it; a file of another codec may still have the right length."""
_OUTPUTS: Final = tuple(Output(format=each) for each in get_args(AudioFormat))
Check = Callable[[], str]


def self_test() -> int:
    """Print one line per check; return 0 if all of them pass, else 1."""
    failed = 0
    for name, check in _checks():
        try:
            sys.stdout.write(f"{name}: ok, {check()}\n")
        except Exception as error:  # noqa: BLE001 - any error is a failed check
            failed += 1
            sys.stdout.write(f"{name}: FAILED, {type(error).__name__}: {error}\n")
    return int(failed > 0)


def _checks() -> Iterator[tuple[str, Check]]:
    yield "python", platform.python_version
    yield "media", lambda: ", ".join(f"{name} {version}" for name, version in library_versions().items())
    for output in _OUTPUTS:
        yield f"encode and decode {output.format}", partial(_round_trip, output)
    yield "spleeter engine", _spleeter
    if find_spec("torch") is None:
        sys.stdout.write("demucs engine: not in this environment\n")
    else:
        yield "demucs engine", _demucs
    yield "downloader", _downloader


def _round_trip(output: Output) -> str:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.repeat(0.5 * np.sin(2 * np.pi * 440 * time)[None], 2, axis=0).astype(np.float32)
    encoding = encoding_for(output)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"tone.{output.format}")
        with StemWriter(path, encoding) as writer:
            writer.write(tone)
        if (codec := stored_codec(path)) != _CODECS[output.format]:
            raise ValueError(f"the codec is {codec} instead of {_CODECS[output.format]}")
        if abs(declared_samples(path) - SAMPLE_RATE) > encoding.frame:
            raise ValueError(f"{declared_samples(path)} samples instead of {SAMPLE_RATE}")
        decoded = decode(path, Path(folder, "decoded.flac"), 10, lambda _: None).measured.samples
        return f"{codec}, {path.stat().st_size} bytes, {decoded} samples decoded"


def _spleeter() -> str:
    from importlib.metadata import version

    from stemyard_separator.engines.spleeter import SpleeterEngine

    return f"{SpleeterEngine.__name__} on onnxruntime {version('onnxruntime')}"


def _demucs() -> str:
    from stemyard_separator.engines.demucs import device_report

    return device_report()


def _downloader() -> str:
    from importlib.metadata import version

    return f"yt-dlp {version('yt-dlp')}, yt-dlp-ejs {version('yt-dlp-ejs')}, deno {version('deno')}"
